"""A file's way from the trainer to rows: fetched, read, cut into chunks. In the worker only."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import TemporaryFile
from typing import BinaryIO

from services.common.clients.trainer import TrainerClient
from services.common.errors import NotFound
from services.retriever.chunking import Cut, chunks
from services.retriever.embedding import Embedder
from services.retriever.models import StoreFile
from services.retriever.parsing.documents import sections
from services.retriever.parsing.refusal import Unreadable
from services.retriever.rows import Row, RowFile
from services.retriever.settings import RetrieverSettings

# OpenAI's `auto`.
SIZE, OVERLAP = 800, 400


def read(settings: RetrieverSettings, embedder: Embedder, file: StoreFile, rows: RowFile) -> Cut:
    """Lay the file's passages down in ``rows``; ``Unreadable`` says what is wrong with it."""
    cut = _cut(file, embedder)
    with fetched(settings, file.file_id, max_bytes=settings.max_file_bytes) as source:
        offset = 0
        for text in sections(source, file.filename, max_characters=settings.max_file_characters):
            for start, end in chunks(text, embedder.words, size=cut.size, overlap=cut.overlap):
                chunk = text[start:end]
                lead = len(chunk) - len(chunk.lstrip())
                rows.add(
                    Row(
                        rows.count,
                        f"{file.file_id}#{rows.count}",
                        file.file_id,
                        file.filename,
                        chunk.strip(),
                        json.dumps(file.attributes),
                        offset + start + lead,
                    )
                )
            offset += len(text) + 1
    return cut


def _cut(file: StoreFile, embedder: Embedder) -> Cut:
    """What was asked for; by default OpenAI's sizes, but no more than a vector stands for."""
    if file.max_chunk_tokens is not None and file.overlap_tokens is not None:
        return Cut(file.max_chunk_tokens, file.overlap_tokens)
    size = min(SIZE, embedder.reads)
    return Cut(size, min(OVERLAP, size // 2))


@contextmanager
def fetched(settings: RetrieverSettings, file_id: str, *, max_bytes: int) -> Iterator[BinaryIO]:
    """A file of the trainer's on this machine's disk, while it is needed."""
    with TemporaryFile() as target:
        asyncio.run(_fetch(settings, file_id, target, max_bytes))
        target.seek(0)
        yield target


async def _fetch(
    settings: RetrieverSettings, file_id: str, target: BinaryIO, max_bytes: int
) -> None:
    try:
        async with (
            TrainerClient.connect(settings.trainer_url, settings.peer_key) as trainer,
            trainer.file_content(file_id) as blocks,
        ):
            async for block in blocks:
                if target.tell() + len(block) > max_bytes:
                    raise Unreadable(
                        f"The file is larger than {max_bytes} bytes, the most that is read."
                    )
                target.write(block)
    except NotFound:
        raise Unreadable("The file was deleted before it was read; upload it again.") from None
