"""Natural Questions (Kwiatkowski et al. 2019): questions to a search engine, answered on a page.

Three forms: ``v1.0`` (``nq-train-00.jsonl.gz``: tokens as objects), simplified (one text whose
tokens are parted by blanks, ``simplified-nq-train.jsonl.gz``), and the hub's, lists of objects
turned into objects of lists. Kept are questions with a long answer that is a paragraph, and a
short one or yes or no.
"""

import gzip
import html
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from fineproof.data.example import Example, Passage
from fineproof.data.sources.hub import objects

HUB = "google-research-datasets/natural_questions"
LICENCE = "Natural Questions: Google, CC BY-SA 3.0"

NEIGHBOURS = 10
"""Other paragraphs of a page that come into the corpus beside the gold one."""
_MIN_WORDS = 10
_TAG = re.compile(r"<[^ >][^>]*>")
_BEFORE = re.compile(r" ([,.;:?!%)\]}]|n't\b|'\w{1,2}\b)")
_AFTER = re.compile(r"([(\[{$]) ")

Span = tuple[int, int]


@dataclass(frozen=True)
class NaturalQuestions:
    """``records`` in any of the three forms."""

    records: Iterable[Mapping[str, Any]]
    origin: str
    name: str = "nq"
    licence: str = LICENCE

    def examples(self) -> Iterator[Example]:
        for record in self.records:
            if (example := _example(_page_of(record))) is not None:
                yield example

    def corpus(self) -> Iterator[Passage]:
        return iter(())


@dataclass(frozen=True)
class _Page:
    """``tokens`` without their tags are None; ``yes_no`` is the annotators' first, if any."""

    id: str
    question: str
    title: str
    tokens: Sequence[str | None]
    tags: Mapping[int, str]
    candidates: Sequence[Span]
    long: Sequence[Span]
    short: Sequence[Span]
    yes_no: str | None

    def text(self, span: Span) -> str:
        words = [token for token in self.tokens[slice(*span)] if token is not None]
        joined = " ".join(words).replace("`` ", '"').replace(" ''", '"')
        return _AFTER.sub(r"\1", _BEFORE.sub(r"\1", joined)).strip()


def from_files(paths: Sequence[Path]) -> Iterator[dict[str, Any]]:
    """Records of ``.jsonl`` and ``.jsonl.gz`` files, one in memory at a time."""
    for path in paths:
        opener = gzip.open if path.suffix == ".gz" else open
        with opener(path, "rt", encoding="utf-8") as source:
            yield from (json.loads(line) for line in source if line.strip())


def _page_of(record: Mapping[str, Any]) -> _Page:
    if "document_text" in record:
        return _page(record, record["document_text"].split(" "))
    if "document_tokens" in record:
        tokens = record["document_tokens"]
        return _page(
            record,
            [each["token"] for each in tokens],
            is_html=[each["html_token"] for each in tokens],
        )
    return _hub_page(record)


def _page(
    record: Mapping[str, Any], tokens: Sequence[str], is_html: Sequence[bool] | None = None
) -> _Page:
    annotations = record["annotations"]
    return _assembled(
        id_=str(record["example_id"]),
        question=record["question_text"],
        title=record.get("document_title") or _title(record.get("document_url", "")),
        tokens=tokens,
        is_html=is_html,
        candidates=[(c["start_token"], c["end_token"]) for c in record["long_answer_candidates"]],
        long=[_span(each["long_answer"]) for each in annotations],
        short=[_span(short) for each in annotations for short in each["short_answers"]],
        yes_no=[each["yes_no_answer"] for each in annotations],
    )


def _hub_page(record: Mapping[str, Any]) -> _Page:
    document, annotations = record["document"], objects(record["annotations"])
    tokens = objects(document["tokens"])
    return _assembled(
        id_=str(record["id"]),
        question=record["question"]["text"],
        title=document["title"] or _title(document["url"]),
        tokens=[each["token"] for each in tokens],
        is_html=[each["is_html"] for each in tokens],
        candidates=[_span(each) for each in objects(record["long_answer_candidates"])],
        long=[_span(each["long_answer"]) for each in annotations],
        short=[
            _span(each)
            for annotation in annotations
            for each in objects(annotation["short_answers"])
        ],
        yes_no=[{0: "NO", 1: "YES"}.get(each["yes_no_answer"], "NONE") for each in annotations],
    )


def _assembled(
    *,
    id_: str,
    question: str,
    title: str,
    tokens: Sequence[str],
    is_html: Sequence[bool] | None,
    candidates: Sequence[Span],
    long: Sequence[Span],
    short: Sequence[Span],
    yes_no: Sequence[str],
) -> _Page:
    tagged = [_TAG.fullmatch(token) is not None for token in tokens] if is_html is None else is_html
    return _Page(
        id=id_,
        question=question.strip(),
        title=title,
        tokens=[
            None if tag else html.unescape(token) for token, tag in zip(tokens, tagged, strict=True)
        ],
        tags={at: tokens[at].upper() for at, _ in candidates if tagged[at]},
        candidates=candidates,
        long=[span for span in long if span[0] >= 0],
        short=[span for span in short if span[0] >= 0],
        yes_no=next((said.capitalize() for said in yes_no if said in ("YES", "NO")), None),
    )


def _example(page: _Page) -> Example | None:
    paragraphs = {
        span: _passage(page, span)
        for span in page.candidates
        if page.tags.get(span[0]) == "<P>" and len(page.text(span).split()) >= _MIN_WORDS
    }
    gold = dict.fromkeys(paragraphs[span] for span in page.long if span in paragraphs)
    answers = list(dict.fromkeys(text for span in page.short if (text := page.text(span))))
    if page.yes_no and not answers:
        answers = [page.yes_no]
    if not gold or not answers:
        return None
    others = sorted(set(paragraphs.values()) - gold.keys(), key=lambda passage: passage.id)
    return Example(
        id=f"nq-{page.id}",
        question=page.question,
        answer=answers[0],
        gold=tuple(gold),
        documents=(page.title,),
        others=tuple(others[:NEIGHBOURS]),
        more={"answer_type": "short", "aliases": answers, "title": page.title},
    )


def _passage(page: _Page, span: Span) -> Passage:
    # By its text: the same page comes in many revisions.
    text = page.text(span)
    key = blake2b(f"{page.title}\0{text}".encode(), digest_size=8).hexdigest()
    return Passage(f"nq-{key}", text, page.title, page.title)


def _span(said: Mapping[str, int]) -> Span:
    return said["start_token"], said["end_token"]


def _title(url: str) -> str:
    """Of ``…/index.php?title=Cold_War&amp;oldid=1`` or ``…/wiki/Cold_War``."""
    parts = urlsplit(html.unescape(url))
    named = parse_qs(parts.query).get("title") or [unquote(parts.path.rpartition("/")[2])]
    return named[0].replace("_", " ")
