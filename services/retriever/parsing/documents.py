"""A file of any kind we know, as texts that can be searched."""

from collections.abc import Callable, Iterator
from pathlib import PurePath
from typing import BinaryIO

from services.retriever.parsing import markup, pdf, plain, records, word
from services.retriever.parsing.refusal import Unreadable

Parser = Callable[[BinaryIO], Iterator[str]]

_AS_THEY_ARE = (
    "c cpp cs css csv go h ini java js json log php py rb rs rst sh sql tex text toml ts tsv txt "
    "xml yaml yml"
)
_PARSERS: dict[str, Parser] = {
    **dict.fromkeys(("md", "markdown"), markup.markdown),
    **dict.fromkeys(("html", "htm", "xhtml"), markup.html),
    **dict.fromkeys(("jsonl", "ndjson"), records.json_lines),
    "pdf": pdf.pages,
    "docx": word.blocks,
    **dict.fromkeys(_AS_THEY_ARE.split(), plain.text),
}


def sections(source: BinaryIO, filename: str, *, max_characters: int) -> Iterator[str]:
    """What the file says, in texts that stand by themselves: a JSON line each, else one.

    Raises ``Unreadable``, with a sentence for whoever sent the file.
    """
    parse = _parser(source, filename)
    parts = _within(_clean(_explained(parse(source), filename)), max_characters)
    if parse is records.json_lines:
        yield from parts
    else:
        yield "\n".join(parts)


def is_quick(source: BinaryIO, filename: str) -> bool:
    """Whether reading it takes as long as the file is, whatever is in it."""
    return _parser(source, filename) in (plain.text, records.json_lines)


def _clean(parts: Iterator[str]) -> Iterator[str]:
    """Parts that hold something, as PostgreSQL can hold it."""
    for part in parts:
        clean = part.replace("\x00", " ").encode(errors="replace").decode().strip()
        if clean:
            yield clean


def _within(parts: Iterator[str], most: int) -> Iterator[str]:
    read = 0
    for part in parts:
        read += len(part)
        if read > most:
            raise Unreadable(f"The file holds more than {most} characters of text; divide it.")
        yield part
    if not read:
        raise Unreadable("The file holds no text. Scanned pages must go through OCR first.")


def _parser(source: BinaryIO, filename: str) -> Parser:
    suffix = PurePath(filename).suffix.lower().removeprefix(".")
    if suffix in _PARSERS:
        return _PARSERS[suffix]
    if suffix:
        raise Unreadable(
            f"Files that end in '.{suffix[:20]}' are not read; send {', '.join(sorted(_PARSERS))}.",
            code="unsupported_file",
        )
    beginning = source.read(5)
    source.seek(0)
    return pdf.pages if beginning == b"%PDF-" else plain.text


def _explained(parts: Iterator[str], filename: str) -> Iterator[str]:
    """The same, with whatever a parser raises over a broken file as ``Unreadable``."""
    try:
        yield from parts
    except (Unreadable, MemoryError):
        raise
    except Exception as error:
        kind = PurePath(filename).suffix.removeprefix(".").upper() or "text"
        reason = f"{type(error).__name__}: {error}"[:300]
        raise Unreadable(f"The file cannot be read as {kind} ({reason}).") from error
