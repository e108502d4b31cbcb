"""The conversation of a request as chat messages, and the question it ends in."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from services.common.contracts.generator import UsedPassage
from services.common.prompts import SYSTEM, render_messages
from services.generator.rag.packing import Message, Messages
from services.generator.responses.items import (
    FunctionCallItem,
    FunctionOutputItem,
    Item,
    MessageItem,
    text_of,
)


@dataclass(frozen=True)
class Conversation:
    """``question`` is what the user said last, if anything; ``later`` are calls of functions since,
    and what came of them."""

    system: str | None
    earlier: Messages
    question: str | None
    later: Messages

    def asked(self, earlier: Sequence[Message]) -> Messages:
        """As it was said, with these of the earlier messages."""
        system = {"role": "system", "content": self.system}
        question = {"role": "user", "content": self.question}
        return [
            *([system] if self.system is not None else []),
            *map(dict, earlier),
            *([question] if self.question is not None else []),
            *self.later,
        ]

    def with_passages(
        self, passages: Sequence[UsedPassage], earlier: Sequence[Message]
    ) -> Messages:
        """The question in the words of training; the caller's instructions replace ours."""
        system = SYSTEM if self.system is None else self.system
        return [
            *render_messages(self.question or "", passages, earlier, system=system),
            *self.later,
        ]


@dataclass
class _Telling:
    system: list[str] = field(default_factory=list)
    messages: Messages = field(default_factory=list)

    def add(self, item: Item) -> None:
        if isinstance(item, MessageItem):
            text = text_of(item.content)
            if item.role in ("system", "developer") and not self.messages:
                self.system.append(text)
            else:
                role = "system" if item.role == "developer" else item.role
                self.messages.append({"role": role, "content": text})
        elif isinstance(item, FunctionCallItem):
            self._calling().append(
                {
                    "id": item.call_id,
                    "type": "function",
                    "function": {"name": item.name, "arguments": item.arguments},
                }
            )
        elif isinstance(item, FunctionOutputItem):
            text = text_of(item.output)
            self.messages.append({"role": "tool", "tool_call_id": item.call_id, "content": text})

    def _calling(self) -> list[dict[str, Any]]:
        """The calls of the assistant's message that is being told, which is begun if need be."""
        if not self.messages or self.messages[-1]["role"] != "assistant":
            self.messages.append({"role": "assistant", "content": ""})
        calls: list[dict[str, Any]] = self.messages[-1].setdefault("tool_calls", [])
        return calls


def conversation(items: Sequence[Item], instructions: str | None) -> Conversation:
    """System and developer messages at the beginning are one with ``instructions``: many chat
    templates take one system message, and that only first."""
    telling = _Telling([instructions] if instructions is not None else [])
    for item in items:
        telling.add(item)
    messages = telling.messages
    system = "\n\n".join(telling.system) if telling.system else None
    said = [n for n, message in enumerate(messages) if message["role"] == "user"]
    if not said:
        return Conversation(system, earlier=messages, question=None, later=[])
    last = said[-1]
    return Conversation(system, messages[:last], messages[last]["content"], messages[last + 1 :])
