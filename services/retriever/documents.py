"""Files of the trainer's: fetched, read, cut into passages. Imported by the worker only."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from tempfile import TemporaryFile
from typing import BinaryIO

from services.common.clients.trainer import TrainerClient
from services.common.errors import InvalidRequest, NotFound, TooLarge
from services.retriever.chunking import Cut, chunks
from services.retriever.embedding import Embedder
from services.retriever.lines import PassageLines
from services.retriever.models import StoreFile
from services.retriever.parsing.apart import read
from services.retriever.parsing.refusal import Unreadable
from services.retriever.rows import Row, RowFile
from services.retriever.settings import RetrieverSettings

# OpenAI's `auto`.
SIZE, OVERLAP = 800, 400


class Files:
    """A ``Source``. What is on its way lies on this machine's disk."""

    def __init__(self, settings: RetrieverSettings) -> None:
        self._settings = settings

    @contextmanager
    def document(self, embedder: Embedder, file: StoreFile) -> Iterator[tuple[Iterable[Row], Cut]]:
        cut = _cut(file, embedder)
        with RowFile() as rows:
            with TemporaryFile() as target:
                asyncio.run(self._fetch(file.file_id, target))
                target.seek(0)
                self._cut_up(target, file, embedder, cut, rows)
            yield rows, cut

    @contextmanager
    def lines(self, embedder: Embedder, file_id: str) -> Iterator[Iterable[Row]]:
        most = self._settings.max_ingestion_bytes
        with PassageLines(max_bytes=most, dimensions=lambda: embedder.dimensions) as lines:
            try:
                asyncio.run(self._feed(file_id, lines))
                lines.finish()
            except (InvalidRequest, TooLarge) as fault:
                raise Unreadable(fault.message) from None
            yield lines.rows()

    def _cut_up(
        self, target: BinaryIO, file: StoreFile, embedder: Embedder, cut: Cut, rows: RowFile
    ) -> None:
        offset = 0
        texts = read(
            target,
            file.filename,
            max_characters=self._settings.max_file_characters,
            max_seconds=self._settings.max_file_seconds,
        )
        for text in texts:
            for start, end in chunks(text, embedder.words, size=cut.size, overlap=cut.overlap):
                chunk = text[start:end]
                if not chunk.strip():  # a page of blanks says nothing
                    continue
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

    async def _fetch(self, file_id: str, target: BinaryIO) -> None:
        most = self._settings.max_file_bytes
        async with self._content(file_id) as blocks:
            async for block in blocks:
                if target.tell() + len(block) > most:
                    raise Unreadable(
                        f"The file is larger than {most} bytes, the most that is read."
                    )
                target.write(block)

    async def _feed(self, file_id: str, lines: PassageLines) -> None:
        async with self._content(file_id) as blocks:
            async for block in blocks:
                lines.feed(block)

    @asynccontextmanager
    async def _content(self, file_id: str) -> AsyncIterator[AsyncIterator[bytes]]:
        settings = self._settings
        try:
            async with (
                TrainerClient.connect(settings.trainer_url, settings.peer_key) as trainer,
                trainer.file_content(file_id) as blocks,
            ):
                yield blocks
        except NotFound:
            raise Unreadable("The file was deleted before it was read; upload it again.") from None


def _cut(file: StoreFile, embedder: Embedder) -> Cut:
    """What was asked for; by default OpenAI's sizes, but no more than a vector stands for."""
    if file.max_chunk_tokens is not None and file.overlap_tokens is not None:
        return Cut(file.max_chunk_tokens, file.overlap_tokens)
    size = min(SIZE, embedder.reads)
    return Cut(size, min(OVERLAP, size // 2))
