"""Text as it is."""

from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Iterator
from typing import BinaryIO

from services.retriever.parsing.refusal import Unreadable


def text(source: BinaryIO) -> Iterator[str]:
    yield decoded(source.read())


def decoded(content: bytes) -> str:
    marked = content.startswith((BOM_UTF16_LE, BOM_UTF16_BE))
    try:
        return content.decode("utf-16" if marked else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise Unreadable(
            f"The file is not UTF-8 text (byte {error.start}); save it as UTF-8 and send it again."
        ) from None
