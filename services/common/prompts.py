"""The one place where a prompt is worded: serving and training both render with it.

A difference between the two would be measured as an effect of tuning.
"""

import hashlib
from collections.abc import Sequence
from typing import Protocol

SYSTEM = "You are a careful assistant. Answer the question truthfully."
CLOSED_BOOK = "Question: {question}"
WITH_PASSAGES = "Answer the question from the passages.\n\n{passages}\n\nQuestion: {question}"

TEMPLATE_SHA256 = hashlib.sha256(
    "\0".join((SYSTEM, CLOSED_BOOK, WITH_PASSAGES)).encode()
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


def render_messages(question: str, passages: Sequence[PassageText] = ()) -> list[dict[str, str]]:
    """Chat messages that ask ``question``, closed book when there are no passages."""
    if passages:
        numbered = "\n\n".join(render_passage(n, p) for n, p in enumerate(passages, 1))
        # str.format would stumble over braces in a passage's own text.
        content = WITH_PASSAGES.replace("{passages}", numbered, 1)
        head, _, tail = content.rpartition("{question}")
        content = head + question + tail
    else:
        content = CLOSED_BOOK.replace("{question}", question, 1)
    return [{"role": "system", "content": SYSTEM}, {"role": "user", "content": content}]
