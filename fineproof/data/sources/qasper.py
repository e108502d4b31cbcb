"""Qasper (Dasigi et al. 2021): questions about one paper of natural language processing each.

Original: ``qasper-train-v0.3.json`` and its like, one object from paper id to paper. On the hub:
``allenai/qasper``, a row a paper, lists of objects turned into objects of lists.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from fineproof.data.example import Example, Passage
from fineproof.data.sources.hub import objects

HUB = "allenai/qasper"
LICENCE = "Qasper: Allen Institute for AI, CC BY 4.0"


@dataclass(frozen=True)
class Qasper:
    """``papers`` gives an id and a paper in the original form."""

    papers: Iterable[tuple[str, Mapping[str, Any]]]
    origin: str
    name: str = "qasper"
    licence: str = LICENCE

    def examples(self) -> Iterator[Example]:
        for paper_id, paper in self.papers:
            yield from _examples(paper_id, paper)

    def corpus(self) -> Iterator[Passage]:
        return iter(())


def from_hub(rows: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Rows of the hub's data set, put back into the original form."""
    for row in rows:
        questions = [dict(qa) for qa in objects(row["qas"])]
        for question in questions:
            question["answers"] = objects(question["answers"])
        yield (
            row["id"],
            {
                "title": row["title"],
                "abstract": row["abstract"],
                "full_text": objects(row["full_text"]),
                "qas": questions,
            },
        )


def _examples(paper_id: str, paper: Mapping[str, Any]) -> Iterator[Example]:
    passages = _passages(paper_id, paper)
    by_text = {passage.text: passage for passage in reversed(passages)}
    for asked in paper["qas"]:
        answers = [said for each in asked["answers"] if (said := _said(each["answer"]))]
        if not answers:
            continue
        # The first annotator's answer leads, with all that any of them pointed at.
        gold = dict.fromkeys(
            by_text[text]
            for each in asked["answers"]
            for text in map(str.strip, each["answer"]["evidence"])
            if text in by_text
        )
        if gold:
            kind, answer = answers[0]
            yield Example(
                id=f"qasper-{asked['question_id']}",
                question=asked["question"].strip(),
                answer=answer,
                gold=tuple(gold),
                documents=(paper_id,),
                others=tuple(passages),
                more={
                    "answer_type": kind,
                    "alt_answers": list(dict.fromkeys(text for _, text in answers[1:])),
                },
            )


def _passages(paper_id: str, paper: Mapping[str, Any]) -> list[Passage]:
    texts = [paper["abstract"] or ""]
    texts += [text for section in paper["full_text"] for text in section["paragraphs"]]
    return [
        Passage(f"qasper-{paper_id}-{number}", text.strip(), paper["title"], paper_id)
        for number, text in enumerate(texts)
        if text.strip()
    ]


def _said(answer: Mapping[str, Any]) -> tuple[str, str] | None:
    """What kind of answer it is, and its text; None for an unanswerable question."""
    if answer["unanswerable"]:
        return None
    if spans := [span.strip() for span in answer["extractive_spans"] if span.strip()]:
        return "extractive", ", ".join(spans)
    if free := (answer["free_form_answer"] or "").strip():
        return "abstractive", free
    if answer["yes_no"] is not None:
        return "boolean", "Yes" if answer["yes_no"] else "No"
    return None
