"""BioASQ task B (Krithara et al. 2023): experts' questions with PubMed snippets and answers.

Original: ``{"questions": [...]}`` of a golden or training file. On the hub: the questions and the
corpus of ``enelpol/rag-mini-bioasq``, which have long answers only.
"""

import ast
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from heapq import nsmallest
from typing import Any

from fineproof.data.example import Example, Passage

HUB = "enelpol/rag-mini-bioasq"
LICENCE = "BioASQ: terms of bioasq.org, to whoever registered; not to be passed on"
HUB_LICENCE = "rag-mini-bioasq: CC BY 2.5 by its data-set card; BioASQ's own terms beside"

DISTRACTORS = 5_000
"""Passages of the hub's corpus that are in every sample's."""


@dataclass(frozen=True)
class BioAsq:
    """``questions`` in the original form."""

    questions: Iterable[Mapping[str, Any]]
    origin: str
    name: str = "bioasq"
    licence: str = LICENCE

    def examples(self) -> Iterator[Example]:
        for question in self.questions:
            if (example := _example(question)) is not None:
                yield example

    def corpus(self) -> Iterator[Passage]:
        return iter(())


@dataclass(frozen=True)
class MiniBioAsq:
    """Rows of the hub's two configurations: ``{id, question, answer, relevant_passage_ids}`` and
    ``{id, passage}``. A passage is a document of its own."""

    questions: Iterable[Mapping[str, Any]]
    passages: Iterable[Mapping[str, Any]]
    origin: str
    name: str = "bioasq"
    licence: str = HUB_LICENCE

    @cached_property
    def known(self) -> dict[str, Passage]:
        """Passages by ``pmid:…``."""
        found: dict[str, Passage] = {}
        for row in self.passages:
            text = (row["passage"] or "").strip()
            if text and text != "nan":
                id_ = f"pmid:{row['id']}"
                found[id_] = Passage(id_, text, "", id_)
        return found

    def examples(self) -> Iterator[Example]:
        for row in self.questions:
            ids = row["relevant_passage_ids"]
            # One copy of the set holds lists, another their Python spelling.
            ids = ast.literal_eval(ids) if isinstance(ids, str) else ids
            gold = [self.known[key] for id_ in ids if (key := f"pmid:{id_}") in self.known]
            if gold and row["answer"].strip():
                yield Example(
                    id=f"bioasq-{row['id']}",
                    question=row["question"].strip(),
                    answer=row["answer"].strip(),
                    gold=tuple(gold),
                    documents=tuple(passage.doc_id for passage in gold),
                )

    def corpus(self) -> Iterator[Passage]:
        """``DISTRACTORS`` of the 40,000, always the same."""
        by_hash = nsmallest(
            DISTRACTORS, self.known, key=lambda id_: blake2b(id_.encode(), digest_size=8).digest()
        )
        return (self.known[id_] for id_ in by_hash)


def _example(question: Mapping[str, Any]) -> Example | None:
    ideal = [text.strip() for text in _flat(question.get("ideal_answer")) if text.strip()]
    gold = dict.fromkeys(
        _passage(snippet) for snippet in question.get("snippets", ()) if snippet["text"].strip()
    )
    if not ideal or not gold:
        return None
    return Example(
        id=f"bioasq-{question['id']}",
        question=question["body"].strip(),
        answer=ideal[0],
        gold=tuple(gold),
        documents=tuple(dict.fromkeys(passage.doc_id for passage in gold)),
        more={
            "answer_type": question.get("type"),
            "alt_answers": list(dict.fromkeys(ideal[1:])),
            "exact_answer": list(dict.fromkeys(_flat(question.get("exact_answer")))),
        },
    )


def _passage(snippet: Mapping[str, Any]) -> Passage:
    text = snippet["text"].strip()
    document = f"pmid:{snippet['document'].rstrip('/').rpartition('/')[2]}"
    key = blake2b(text.encode(), digest_size=4).hexdigest()
    return Passage(f"{document}-{key}", text, "", document)


def _flat(value: Any) -> list[str]:
    """Years differ in how deep they nest answers and their synonyms."""
    if value is None:
        return []
    if isinstance(value, str | int | float):
        return [str(value)]
    return [leaf for part in value for leaf in _flat(part)]
