"""Markdown and HTML, without their marks."""

import re
from collections.abc import Iterator
from typing import Any, BinaryIO

from lxml.etree import HTMLParser
from lxml.html.defs import block_tags
from markdown_it import MarkdownIt

from services.retriever.parsing.plain import decoded
from services.retriever.parsing.refusal import Unreadable

_BLANKS = re.compile(r"\s+")
_SPARE = re.compile(r" *(\t) *|( ) +")
_UNSEEN = frozenset({"head", "script", "style", "template", "noscript", "svg", "iframe", "object"})
# lxml's list ends with HTML 4.
_SECTIONS = frozenset({"article", "aside", "body", "footer", "header", "main", "nav", "section"})
_BLOCKS = (block_tags | _SECTIONS | {"br", "figure", "summary"}) - {"td", "th", "del", "ins"}
_APART = frozenset({"h1", "h2", "h3", "h4", "h5", "h6", "p", "pre", "table", "ul", "ol"})


def markdown(source: BinaryIO) -> Iterator[str]:
    yield _seen(MarkdownIt("commonmark").enable("table").render(decoded(source.read())))


def html(source: BinaryIO) -> Iterator[str]:
    content = source.read()
    try:
        yield _seen(decoded(content))
    except Unreadable:  # older pages declare another encoding
        yield _seen(content)


def _seen(markup: str | bytes) -> str:
    """What a reader sees of HTML, a line a block. Parsed as events: no tree of it is built."""
    parser = HTMLParser(target=_Reader(), huge_tree=True)
    parser.feed(markup)
    return str(parser.close())


class _Reader:
    """lxml's target: collects text between tags."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._line: list[str] = []
        self._unseen = 0
        self._verbatim = 0

    def start(self, tag: str, _: Any) -> None:
        if tag in _UNSEEN:
            self._unseen += 1
        elif tag in ("td", "th") and self._line:
            self._line.append("\t")
        elif tag in _BLOCKS:
            self._end_line(apart=tag in _APART)
        self._verbatim += tag == "pre"

    def end(self, tag: str) -> None:
        if tag in _UNSEEN:
            self._unseen -= 1
        elif tag in _BLOCKS:
            self._end_line(apart=tag in _APART)
        self._verbatim -= tag == "pre"

    def data(self, text: str) -> None:
        if not self._unseen:
            self._line.append(text if self._verbatim else _BLANKS.sub(" ", text))

    def comment(self, _: str) -> None:
        pass

    def close(self) -> str:
        self._end_line(apart=False)
        return "\n".join(self._lines).strip()

    def _end_line(self, *, apart: bool) -> None:
        line = "".join(self._line)
        self._line = []
        line = line.strip("\n") if self._verbatim else _SPARE.sub(r"\1\2", line).strip()
        if line.strip():
            self._lines.append(line)
        if apart and self._lines and self._lines[-1]:
            self._lines.append("")
