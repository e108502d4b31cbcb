"""Files as people send them, and as nobody should."""

import contextlib
import io
import json
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pypdf import PageObject

from services.retriever.parsing import word
from services.retriever.parsing.documents import sections
from services.retriever.parsing.refusal import Unreadable
from tests.services.retriever.parsing.samples import docx_of, encrypted, pdf_of


def read(content: bytes, filename: str, *, most: int = 100_000) -> list[str]:
    return list(sections(io.BytesIO(content), filename, max_characters=most))


def refused(content: bytes, filename: str, *, most: int = 100_000) -> Unreadable:
    with pytest.raises(Unreadable) as refusal:
        read(content, filename, most=most)
    return refusal.value


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_text_is_taken_as_it_is(encoding: str) -> None:
    assert read("Größe: 3 µm\nzwei".encode(encoding), "a.TXT") == ["Größe: 3 µm\nzwei"]


def test_text_that_postgresql_cannot_hold_is_mended() -> None:
    assert read(b"a\x00b", "a.txt") == ["a b"]
    assert read(rb'"a\ud800b"', "a.jsonl") == ["a?b"]


def test_html_loses_its_marks_and_keeps_its_lines() -> None:
    page = """<html><head><title>T</title><style>a{}</style></head><body><!-- c -->
      <script>if (a < b) x</script><h1>Hi</h1><p>a &amp; <b>b</b>old<br>c</p>
      <ul><li>one<li>two</ul><table><tr><td>1<td>2</tr><tr><td>3</table>
      <pre>  code\n    more</pre></body></html>"""
    (text,) = read(page.encode(), "a.html")
    assert text == "Hi\n\na & bold\nc\n\none\ntwo\n\n1\t2\n3\n\n  code\n    more"


def test_html_in_an_encoding_that_it_declares_is_read() -> None:
    page = '<meta charset="iso-8859-1"><p>Größe</p>'
    assert read(page.encode("latin-1"), "a.htm") == ["Größe"]


def test_html_nested_without_end_is_read() -> None:
    assert read(b"<div><b>" * 50_000 + b"deep", "a.html") == ["deep"]


def test_markdown_loses_its_marks() -> None:
    source = (
        "# Pump\n\nIs *red* and [old](http://a.example).\n\n- one\n- two\n\n|a|b|\n|-|-|\n|1|2|\n"
    )
    (text,) = read(source.encode(), "a.md")
    assert text == "Pump\n\nIs red and old.\n\none\ntwo\n\na\tb\n1\t2"


def test_a_pdf_is_read_page_by_page_as_one_text() -> None:
    content = pdf_of(["The first page ends in the", "middle of a sentence."])
    assert read(content, "a.pdf") == ["The first page ends in the\nmiddle of a sentence."]
    assert read(content, "upload") == read(content, "a.pdf")


def test_a_docx_gives_paragraphs_and_tables_in_order() -> None:
    assert read(docx_of(["Before.", [["a", "b"], ["c", "d"]], "After."]), "a.docx") == [
        "Before.\na\tb\nc\td\nAfter."
    ]


def test_each_json_line_stands_by_itself() -> None:
    lines = [
        {"title": "Pump", "text": "It is red.", "id": 7},
        {"question": "How old?", "years": 3, "tags": ["é"]},
        "Plain.",
    ]
    content = "\n\n".join(json.dumps(line) for line in lines).encode()
    assert read(content, "a.jsonl") == [
        "Pump\nIt is red.",
        'question: How old?\nyears: 3\ntags: ["é"]',
        "Plain.",
    ]


BROKEN = [
    (b"\xff\xfe\xfa", "a.txt"),
    (b"caf\xe9", "a.md"),
    (b"%PDF-1.7 nothing follows", "a.pdf"),
    (b"no pdf at all", "a.pdf"),
    (pdf_of(["x"])[:300], "a.pdf"),
    (b"no zip at all", "a.docx"),
    (docx_of(["x"])[:-200], "a.docx"),
    (b'{"text": "fine"}\n{"text": ', "a.jsonl"),
    (b"[" * 100_000, "a.jsonl"),
    (b'{"text": "\xff"}', "a.jsonl"),
    (b"", "a.txt"),
    (b" \n\t ", "a.html"),
    (b"<script>x</script>", "a.html"),
    (pdf_of([""]), "a.pdf"),
    (docx_of([]), "a.docx"),
]


@pytest.mark.parametrize(("content", "filename"), BROKEN, ids=range(len(BROKEN)))
def test_a_broken_file_is_refused_with_a_sentence(content: bytes, filename: str) -> None:
    refusal = refused(content, filename)
    assert refusal.code == "invalid_file"
    assert str(refusal).endswith(".")


def test_a_bad_line_is_named() -> None:
    assert "line 3" in str(refused(b'"a"\n\n{', "a.jsonl"))


def test_a_kind_that_is_not_read_is_said_to_be_unsupported() -> None:
    refusal = refused(b"PK", "photo.xlsx")
    assert refusal.code == "unsupported_file"
    assert ".xlsx" in str(refusal)
    assert "docx" in str(refusal)


def test_a_pdf_with_a_password_is_refused() -> None:
    assert "password" in str(refused(encrypted(pdf_of(["secret"])), "a.pdf"))


def test_more_text_than_allowed_is_refused_before_all_of_it_is_read() -> None:
    def lines() -> bytes:
        return b'"0123456789"\n' * 11

    assert "100 characters" in str(refused(lines(), "a.jsonl", most=100))
    assert len(read(lines(), "a.jsonl", most=110)) == 11


def test_a_pdf_is_read_no_further_than_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[object] = []
    whole = PageObject.extract_text
    monkeypatch.setattr(
        PageObject, "extract_text", lambda page: (seen.append(page), whole(page))[1]
    )
    refused(pdf_of(["0123456789"] * 20), "a.pdf", most=45)
    assert len(seen) == 5


def zipped(name: str, content: bytes) -> bytes:
    packed = io.BytesIO(docx_of(["x"]))
    with zipfile.ZipFile(packed, "a", zipfile.ZIP_DEFLATED) as target:
        target.writestr(name, content)
    return packed.getvalue()


@pytest.mark.parametrize("name", ["word/more.xml", "word/document.bin", "word/media/image1.png"])
def test_a_zip_bomb_is_refused_unopened(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = zipped(name, b"<a/>" * (8 * 2**20))
    assert len(bomb) < 2**20
    monkeypatch.setattr(word, "Document", lambda _: pytest.fail("it was opened"))
    assert "unpacks" in str(refused(bomb, "a.docx"))


def test_a_cell_that_spans_a_billion_columns_is_one_cell() -> None:
    plain = docx_of([[["a", "b"]]])
    with zipfile.ZipFile(io.BytesIO(plain)) as packed:
        parts = {each: packed.read(each) for each in packed.namelist()}
    xml = parts["word/document.xml"].replace(
        b"<w:tcPr>", b'<w:tcPr><w:gridSpan w:val="1000000000"/>'
    )
    assert xml != parts["word/document.xml"]
    wide = io.BytesIO()
    with zipfile.ZipFile(wide, "w") as target:
        for name, content in (parts | {"word/document.xml": xml}).items():
            target.writestr(name, content)
    assert read(wide.getvalue(), "a.docx") == ["a\tb"]


@given(st.binary(max_size=2_000), st.sampled_from(["a.pdf", "a.docx", "a.html", "a.md", "a.jsonl"]))
def test_whatever_is_sent_is_read_or_refused(content: bytes, filename: str) -> None:
    with contextlib.suppress(Unreadable):
        assert all(read(content, filename))
