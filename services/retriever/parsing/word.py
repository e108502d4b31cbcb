"""DOCX: paragraphs and tables as they follow each other."""

from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO
from zipfile import ZipFile, ZipInfo

from docx import Document
from docx.table import Table, _Cell

from services.retriever.parsing.refusal import Unreadable

# Unpacked. zipfile reads no more of a member than its directory says, whatever the data would grow
# to; XML takes some eight times its size once parsed.
_ALL_BYTES = 128 * 2**20
_XML_BYTES = 24 * 2**20


def blocks(source: BinaryIO) -> Iterator[str]:
    _refuse_bombs(source)
    yield from _lines(Document(source).iter_inner_content())


def _lines(inner: Iterable[Any]) -> Iterator[str]:
    for block in inner:
        if isinstance(block, Table):
            yield from _rows(block)
        else:
            yield block.text


def _rows(table: Table) -> Iterator[str]:
    # Not by the table's grid: a cell may say that it spans a billion columns.
    for row in table._tbl.tr_lst:
        cells = (_Cell(cell, table).iter_inner_content() for cell in row.tc_lst)
        yield "\t".join(" ".join(filter(None, _lines(cell))) for cell in cells)


def _refuse_bombs(source: BinaryIO) -> None:
    with ZipFile(source) as packed:
        members = packed.infolist()
    xml = sum(each.file_size for each in members if _may_be_xml(each))
    if xml > _XML_BYTES or sum(each.file_size for each in members) > _ALL_BYTES:
        raise Unreadable(
            f"The document unpacks to more than {_XML_BYTES} bytes of text or {_ALL_BYTES} in all."
        )
    source.seek(0)


def _may_be_xml(member: ZipInfo) -> bool:
    # What a part is its content type says, whatever its name: text packs well, pictures do not.
    named = member.filename.endswith((".xml", ".rels"))
    return named or member.file_size > 4 * member.compress_size
