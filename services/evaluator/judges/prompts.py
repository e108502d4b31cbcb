"""How a judge is asked: templates, hashed, in which everything judged is fenced off as data."""

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined

from services.evaluator.judges.criteria import Criterion

Messages = list[dict[str, str]]
_FILES = ("form.jinja", "preference.jinja", "steps.jinja", "system.jinja")
# Words by which models mark turns: <|im_end|>, </s>, [INST]. A tokenizer takes them for the mark
# wherever they stand. JSON allows any character to be written as an escape.
_MARK = re.compile(r"<|\[(?=/?[A-Z_]+\])")


@dataclass(frozen=True)
class Subject:
    """What is judged. ``passages`` is None where the answer was given none."""

    question: str
    reference: str
    answer: str
    passages: Sequence[str] | None = None


def data(text: str) -> str:
    """``text`` as a JSON string that nothing in it can end, without marks of a chat's turns."""
    quoted = json.dumps(text, ensure_ascii=False)
    return _MARK.sub(lambda mark: f"\\u{ord(mark[0]):04x}", quoted)


@lru_cache(maxsize=1)
def _templates() -> Environment:
    templates = Environment(  # noqa: S701 - prompts are no markup; ``data`` fences what is foreign
        loader=PackageLoader("services.evaluator.judges"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters["data"] = data
    return templates


@lru_cache(maxsize=1)
def prompts_sha256() -> str:
    """Over all templates with their names: a changed word is another judge."""
    folder = files("services.evaluator.judges") / "templates"
    digest = hashlib.sha256()
    for name in _FILES:
        digest.update(f"{name}\n{(folder / name).read_text()}\n".encode())
    return digest.hexdigest()


def form(criterion: Criterion, steps: Sequence[str], subject: Subject) -> Messages:
    """What many requests share stands first, so that a server's prefix cache holds it: the
    instructions, the criterion with its steps, then the question; the answer last."""
    return _chat("form.jinja", criterion=criterion, steps=steps, subject=subject)


def preference(subject: Subject, first: str, second: str) -> Messages:
    return _chat("preference.jinja", subject=subject, first=first, second=second)


def steps(criterion: Criterion) -> Messages:
    return [{"role": "user", "content": _render("steps.jinja", criterion=criterion)}]


def _chat(template: str, **values: object) -> Messages:
    return [
        {"role": "system", "content": _render("system.jinja")},
        {"role": "user", "content": _render(template, **values)},
    ]


def _render(template: str, **values: object) -> str:
    return _templates().get_template(template).render(**values).strip()


_NUMBERED = re.compile(r"\s*(?:\d+[.):]|[-*•])\s*(.+)")
_MOST_STEPS = 10
_LONGEST_STEP = 500  # characters


def read_steps(text: str) -> tuple[str, ...]:
    """The steps of a list a judge wrote; its lines where it numbered none."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    numbered = [found[1].strip() for line in lines if (found := _NUMBERED.fullmatch(line))]
    return tuple(step[:_LONGEST_STEP] for step in (numbered or lines)[:_MOST_STEPS])
