"""Real files of a few pages."""

import io
from collections.abc import Sequence
from typing import Any

import docx
from pypdf import PdfReader, PdfWriter
from pypdf.generic import DecodedStreamObject, DictionaryObject, NameObject, StreamObject


def pdf_of(pages: Sequence[str]) -> bytes:
    writer = PdfWriter()
    for text in pages:
        content = DecodedStreamObject()
        content.set_data(f"BT /F1 12 Tf 72 700 Td ({text}) Tj ET".encode())
        _add_pages(writer, content)
    return _written(writer)


def slow_pdf() -> bytes:
    """A small file that takes hours: a thousand pages share half a million operations."""
    writer = PdfWriter()
    content = DecodedStreamObject()
    content.set_data(b"BT /F1 12 Tf " + b"(a) Tj " * 500_000 + b"ET")
    _add_pages(writer, content.flate_encode(), count=1_000)
    return _written(writer)


def _add_pages(writer: PdfWriter, content: StreamObject, *, count: int = 1) -> None:
    font = DictionaryObject(
        {
            NameObject("/Type"): NameObject("/Font"),
            NameObject("/Subtype"): NameObject("/Type1"),
            NameObject("/BaseFont"): NameObject("/Helvetica"),
        }
    )
    fonts = DictionaryObject({NameObject("/F1"): writer._add_object(font)})
    shown = writer._add_object(content)
    for _ in range(count):
        page = writer.add_blank_page(width=612, height=792)
        page[NameObject("/Resources")] = DictionaryObject({NameObject("/Font"): fonts})
        page[NameObject("/Contents")] = shown


def encrypted(content: bytes) -> bytes:
    writer = PdfWriter(clone_from=PdfReader(io.BytesIO(content)))
    writer.encrypt("pass", algorithm="RC4-128")
    return _written(writer)


def docx_of(blocks: Sequence[str | Sequence[Sequence[str]]]) -> bytes:
    """Paragraphs, and tables as rows of cells."""
    document: Any = docx.Document()
    for block in blocks:
        if isinstance(block, str):
            document.add_paragraph(block)
            continue
        table = document.add_table(rows=0, cols=len(block[0]))
        for row in block:
            for cell, text in zip(table.add_row().cells, row, strict=True):
                cell.text = text
    target = io.BytesIO()
    document.save(target)
    return target.getvalue()


def _written(writer: PdfWriter) -> bytes:
    target = io.BytesIO()
    writer.write(target)
    return target.getvalue()
