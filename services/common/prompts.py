"""The one place where a prompt is worded: serving and training both render with it.

A difference between the two would be measured as an effect of tuning. The same goes for an answer
that reasons first, as RAFT teaches it (Zhang et al. 2024, arXiv 2403.10131): training writes its
markers, serving reads them.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Protocol

SYSTEM = "You are a careful assistant. Answer the question truthfully."
CLOSED_BOOK = "Question: {question}"
WITH_PASSAGES = "Answer the question from the passages.\n\n{passages}\n\nQuestion: {question}"

REASON, ANSWER = "##Reason:", "##Answer:"
REASONED = f"{REASON} {{reason}} {ANSWER} {{answer}}"
QUOTED = "Passage [{number}] says ##begin_quote## {quote} ##end_quote##"
UNSUPPORTED = "None of the passages says it."

FIELD = re.compile(r"\{(passages|question)\}")
"""A place that a template leaves open."""

TEMPLATE_SHA256 = hashlib.sha256(
    "\0".join((SYSTEM, CLOSED_BOOK, WITH_PASSAGES, REASONED, QUOTED, UNSUPPORTED)).encode()
).hexdigest()


class PassageText(Protocol):
    @property
    def title(self) -> str: ...

    @property
    def text(self) -> str: ...


def render_passage(number: int, passage: PassageText) -> str:
    """One passage as the model sees it; ``number`` counts from 1 and is what ``[1]`` cites."""
    heading = f"[{number}] {passage.title}".rstrip()
    return f"{heading}\n{passage.text}"


def render_messages(
    question: str,
    passages: Sequence[PassageText] = (),
    earlier: Sequence[Mapping[str, str]] = (),
    *,
    system: str = SYSTEM,
    template: str | None = None,
) -> list[dict[str, str]]:
    """Chat messages that ask ``question``, closed book when there are no passages.

    ``earlier`` are messages of the conversation so far. A ``template`` of the caller's own stands
    in place of both of ours; ``{passages}`` and ``{question}`` are all it can name.
    """
    if template is None:
        template = WITH_PASSAGES if passages else CLOSED_BOOK
    fields = {
        "question": question,
        "passages": "\n\n".join(render_passage(n, p) for n, p in enumerate(passages, 1)),
    }
    # In one go, for braces in a text are the text's own; str.format would stumble over them.
    content = FIELD.sub(lambda field: fields[field[1]], template)
    return [
        {"role": "system", "content": system},
        *map(dict, earlier),
        {"role": "user", "content": content},
    ]


def render_quote(number: int, quote: str) -> str:
    """A reason that quotes passage ``number``, counted from 1."""
    return QUOTED.format(number=number, quote=quote)


def render_reasoned(reason: str, answer: str) -> str:
    return REASONED.format(reason=reason, answer=answer)


def split_reasoned(text: str) -> tuple[str, str | None]:
    """The final answer of what a model said, and its reasoning; all of it where it has no markers.

    One that was cut off while it reasoned gave no answer: the empty string.
    """
    before, marker, after = text.rpartition(ANSWER)
    if not marker:
        before, after = text, ""
        if not text.lstrip().startswith(REASON):
            return text, None
    return after.strip(), before.strip().removeprefix(REASON).strip() or None
