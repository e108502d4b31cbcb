"""PDF, a page at a time."""

from collections.abc import Iterator
from typing import BinaryIO

from pypdf import PasswordType, PdfReader

from services.retriever.parsing.refusal import Unreadable


def pages(source: BinaryIO) -> Iterator[str]:
    reader = PdfReader(source)
    if reader.is_encrypted and reader.decrypt("") == PasswordType.NOT_DECRYPTED:
        raise Unreadable("The PDF asks for a password; send it without one.")
    for page in reader.pages:
        yield page.extract_text()
