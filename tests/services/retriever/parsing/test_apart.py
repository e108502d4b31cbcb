"""Reading in another process: the same texts, and an end."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from services.retriever.parsing import apart
from services.retriever.parsing.refusal import Unreadable
from tests.services.retriever.parsing.samples import docx_of, pdf_of, slow_pdf

FILES = {
    "a.pdf": pdf_of(["One.", "Two."]),
    "a.docx": docx_of(["One.", "Zwei, größer."]),
    "a.html": "<p>One.<p>Zwei, größer.".encode(),
    "a.md": b"# One\n\nTwo.",
    "a.txt": b"One.\nTwo.",
    "a.jsonl": b'"One."\n"Two."',
}
TEXTS = {
    "a.pdf": ["One.\nTwo."],
    "a.docx": ["One.\nZwei, größer."],
    "a.html": ["One.\n\nZwei, größer."],
    "a.md": ["One\n\nTwo."],
    "a.txt": ["One.\nTwo."],
    "a.jsonl": ["One.", "Two."],
}


def read(folder: Path, filename: str, content: bytes, *, seconds: float = 60) -> list[str]:
    path = folder / "content"
    path.write_bytes(content)
    with path.open("rb") as source:
        texts = apart.read(source, filename, max_characters=100_000, max_seconds=seconds)
        return list(texts)


@pytest.mark.parametrize("filename", FILES)
def test_each_kind_is_read_as_it_is_in_place(tmp_path: Path, filename: str) -> None:
    assert read(tmp_path, filename, FILES[filename]) == TEXTS[filename]


@pytest.mark.parametrize("filename", ["a.pdf", "a.docx", "a.html", "a.txt", "a.xlsx"])
def test_a_refusal_comes_through(tmp_path: Path, filename: str) -> None:
    with pytest.raises(Unreadable) as refused:
        read(tmp_path, filename, b"")
    kind = "unsupported_file" if filename == "a.xlsx" else "invalid_file"
    assert refused.value.code == kind
    assert str(refused.value).endswith(".")


def test_a_file_that_takes_too_long_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Unreadable, match="within 2 seconds") as refused:
        read(tmp_path, "a.pdf", slow_pdf(), seconds=2)
    assert refused.value.code == "invalid_file"


def test_a_reader_that_is_killed_says_nothing_of_the_file_and_it_knows_no_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FINEPROOF_RETRIEVER_SERVICE_KEY", "secret")
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(read, tmp_path, "a.pdf", slow_pdf(), seconds=600)
        while not (found := _readers()):
            assert not reading.done()
        knows = found[0].environ()
        found[0].kill()
        with pytest.raises(RuntimeError, match="ended with -9"):
            reading.result()
    assert "secret" not in knows.values()


def _readers() -> list[psutil.Process]:
    children = psutil.Process(os.getpid()).children()
    return [child for child in children if apart.__name__ in child.cmdline()]
