"""A judge at work: G-Eval (Liu et al. 2023, arXiv 2303.16634), all runs in one request.

Each answer is judged by each criterion with a form of one score: after the evaluation steps, which
the judge wrote once for all answers, and ``runs`` times, sampled from one reading of the prompt.
"""

import asyncio
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

from services.common.contracts.judge import JudgeAsk, Judgment, Preferred, ReportCriterion
from services.common.errors import FineproofError
from services.evaluator.cache import ServedBy, key_of
from services.evaluator.judges import prompts
from services.evaluator.judges.asking import Asking, JudgeChanged, Sheet, fill_in
from services.evaluator.judges.criteria import Criterion
from services.evaluator.judges.forms import Manner, read, weighted
from services.evaluator.judges.judgments import judgment, unjudged
from services.evaluator.judges.memory import Memory
from services.evaluator.judges.prompts import Subject
from services.evaluator.models import Json

PREFERENCES = ("A", "B", "C")
"""The first answer, the second, or neither."""


@dataclass(frozen=True)
class Form:
    """One answer to be judged by one criterion."""

    criterion: Criterion
    subject: Subject

    @property
    def applies(self) -> bool:
        """Whether there is what the criterion is about: faithfulness needs passages."""
        return "passages" not in self.criterion.sees or bool(self.subject.passages)


@dataclass(frozen=True)
class Judge:
    """A judge that was met: which weights answer, in which manner, and by which steps it judges."""

    ask: JudgeAsk
    asking: Asking
    memory: Memory
    served_by: ServedBy
    manner: Manner
    criteria: tuple[Criterion, ...]
    generated: frozenset[str]

    @property
    def sha256(self) -> str:
        """Over all that its scores depend on, other than what is judged."""
        described = {
            "model": self.served_by.model,
            "adapter_sha256": self.served_by.adapter_sha256,
            "base_revision": self.served_by.base_revision,
            "prompts_sha256": prompts.prompts_sha256(),
            "criteria": [one.model_dump(exclude={"generated"}) for one in self.read_out()],
            "sees": [criterion.sees for criterion in self.criteria],
            "manner": [
                *(self.manner.constraint, self.manner.many, self.manner.logprobs),
                *(["reasons"] if self.manner.reasons else []),
            ],
            "sampling": [self.ask.runs, self.ask.temperature, self.ask.seed],
        }
        return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()

    def read_out(self) -> list[ReportCriterion]:
        """The criteria with the steps that are frozen for all answers."""
        return [
            ReportCriterion(
                name=criterion.name,
                criterion=criterion.text,
                scale=(criterion.lowest, criterion.highest),
                steps=list(criterion.steps or ()),
                steps_sha256=hashlib.sha256("\n".join(criterion.steps or ()).encode()).hexdigest(),
                generated=criterion.name in self.generated,
            )
            for criterion in self.criteria
        ]

    async def score(self, forms: Sequence[Form]) -> list[Judgment]:
        """Judge each; what was judged before is not asked again.

        What cannot be judged, or not read, is an unscored judgment with the reason. Raises
        ``judge_changed`` where other weights answer than at first.
        """
        replies = await self._replies(
            [
                Sheet(
                    prompts.form(form.criterion, form.criterion.steps or (), form.subject),
                    _options(form.criterion),
                    self.ask.runs,
                    self.ask.temperature,
                    self.ask.seed,
                )
                for form in forms
            ]
        )
        return [
            self._judgment(form.criterion, reply)
            for form, reply in zip(forms, replies, strict=True)
        ]

    async def prefer(self, pairs: Sequence[tuple[Subject, str]]) -> list[Preferred]:
        """Of each subject's answer, an arm's, and another, the baseline's, which is better.

        Asked in both orders, the most likely choice of each: models favour a place (Zheng et al.
        2023). Where the orders disagree it is a tie. One that reasons is sampled: it has no other
        temperature than 1.
        """
        temperature = 1.0 if self.manner.reasons else 0.0
        sheets = [
            Sheet(prompts.preference(subject, *order), PREFERENCES, 1, temperature, self.ask.seed)
            for subject, other in pairs
            for order in ((subject.answer, other), (other, subject.answer))
        ]
        replies = await self._replies(sheets)
        return [
            _preferred(there, back) for there, back in zip(replies[::2], replies[1::2], strict=True)
        ]

    def _judgment(self, criterion: Criterion, reply: Json | FineproofError) -> Judgment:
        if isinstance(reply, FineproofError):
            return unjudged(self.ask.runs, criterion, f"{reply.code}: {reply.message}")
        found = [read(text, _options(criterion)) for text in reply["forms"]]
        return judgment(
            [None if score is None else int(score) for score in found],
            criterion,
            weighted(reply["chances"], self.manner),
        )

    async def _replies(self, sheets: Sequence[Sheet]) -> list[Json | FineproofError]:
        keys = [
            key_of(sheet.request(self.ask.model, self.manner), self.served_by) for sheet in sheets
        ]
        known = await self.memory.known(keys)
        async with asyncio.TaskGroup() as asking:
            tasks = {
                key: asking.create_task(self._reply(key, sheet))
                for key, sheet in dict(zip(keys, sheets, strict=True)).items()
                if key not in known
            }
        return [known[key] if key in known else tasks[key].result() for key in keys]

    async def _reply(self, key: str, sheet: Sheet) -> Json | FineproofError:
        try:
            reply, _ = await fill_in(
                sheet, self.asking, self.ask.model, self.manner, self.served_by
            )
        except JudgeChanged:
            raise
        except FineproofError as error:
            return error
        self.memory.keep(key, reply)
        return reply


def _options(criterion: Criterion) -> tuple[str, ...]:
    return tuple(str(score) for score in criterion.scores)


def _preferred(there: Json | FineproofError, back: Json | FineproofError) -> Preferred:
    said: list[str] = []
    for reply in (there, back):
        if isinstance(reply, FineproofError):
            return Preferred(error=f"{reply.code}: {reply.message}")
        if (one := read(reply["forms"][0], PREFERENCES)) is None:
            return Preferred(error="unparsable: the judge named neither answer")
        said.append(one)
    if said == ["A", "B"]:
        return Preferred(better="arm")
    if said == ["B", "A"]:
        return Preferred(better="baseline")
    return Preferred(disagreed=said != ["C", "C"])
