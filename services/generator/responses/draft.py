"""A response in the making: told what the model says, it tells what that changes, as OpenAI's
typed events. What is answered without a stream is the same draft, its events unread.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from services.common.contracts.generator import Usage
from services.common.errors import FineproofError
from services.common.ids import new_id, now
from services.generator.rag.chat import CallPiece, Piece, unreadable
from services.generator.rag.reasoning import Kind, Splitter
from services.generator.responses.output import (
    FileCitation,
    FileSearchOutput,
    FunctionCallOutput,
    IncompleteDetails,
    InputTokensDetails,
    MessageOutput,
    Output,
    OutputText,
    ReasoningOutput,
    ReasoningText,
    Response,
    ResponseError,
    ResponseUsage,
    Status,
)

Event = dict[str, Any]


class Draft:
    """``response`` is always what is known by now; ``answer`` is what may be cited."""

    def __init__(self, response: Response) -> None:
        self.response = response
        self._sequence = 0
        self._splitter = Splitter(resets=False)
        self._reasoning: ReasoningOutput | None = None
        self._message: MessageOutput | None = None
        self._calls: dict[int, FunctionCallOutput] = {}
        self._places: dict[str, int] = {}
        self._finish_reason: str | None = None
        self._usage: Usage | None = None
        self._cached_tokens = 0

    @property
    def answer(self) -> str:
        return self._message.content[0].text if self._message else ""

    def begin(self, search: FileSearchOutput | None) -> Iterator[Event]:
        """The search is done by now: until here, what went wrong still had a status line."""
        yield self._event("created", response=self.response)
        yield self._event("in_progress", response=self.response)
        if search is not None:
            under_way = {"status": "in_progress", "results": None}
            yield self._add(search, shown=search.model_copy(update=under_way))
            for stage in ("in_progress", "searching", "completed"):
                yield self._event(f"file_search_call.{stage}", **self._where(search))
            yield self._item_done(search)

    def take(self, piece: Piece) -> Iterator[Event]:
        if piece.reasoning:
            yield from self._say("reasoning", piece.reasoning)
        for kind, text in self._splitter.feed(piece.text):
            yield from self._say(kind, text)
        for call in piece.calls:
            yield from self._call(call)
        self._finish_reason = piece.finish_reason or self._finish_reason
        self._usage = piece.usage or self._usage
        self._cached_tokens = piece.cached_tokens or self._cached_tokens

    def settle(self) -> Iterator[Event]:
        """The model has said everything: nothing is held back any more."""
        for kind, text in self._splitter.end():
            yield from self._say(kind, text)
        if self._usage is None:
            raise unreadable()
        if self._message is None and self._reasoning is None and not self._calls:
            yield from self._begin_message()  # it said nothing at all

    def end(self, annotations: Sequence[FileCitation]) -> Iterator[Event]:
        cut = _cut_short(self._finish_reason)
        status: Status = "incomplete" if cut else "completed"
        if self._reasoning is not None and self._reasoning.status == "in_progress":
            yield from self._end_reasoning(self._reasoning, status)
        if self._message is not None:
            yield from self._end_message(self._message, status, annotations)
        for call in self._calls.values():
            yield from self._end_call(call, status)
        self.response.usage = self._used()
        self.response.status, self.response.incomplete_details = status, cut
        self.response.completed_at = None if cut else now()
        yield self._event(status, response=self.response)

    def fail(self, error: FineproofError) -> Event:
        """The last event of a stream that broke off; what was said until then stays in it."""
        for item in self.response.output:
            if item.status == "in_progress":
                item.status = "incomplete"
        self.response.status = "failed"
        self.response.error = ResponseError(message=error.message, reason=error.code)
        return self._event("failed", response=self.response)

    def _say(self, kind: Kind, text: str) -> Iterator[Event]:
        if kind == "reasoning":
            if self._reasoning is None:
                self._reasoning = ReasoningOutput(id=new_id("rs"))
                yield self._add(self._reasoning)
                self._reasoning.content = [ReasoningText()]
            self._reasoning.content[0].text += text
            yield self._event("reasoning_text.delta", **self._part(self._reasoning), delta=text)
            return
        if self._message is None:
            if self._reasoning is not None:
                yield from self._end_reasoning(self._reasoning, "completed")
            yield from self._begin_message()
        assert self._message is not None
        self._message.content[0].text += text
        yield self._event("output_text.delta", **self._part(self._message), delta=text, logprobs=[])

    def _begin_message(self) -> Iterator[Event]:
        self._message = message = MessageOutput(id=new_id("msg"))
        yield self._add(message)
        message.content = [OutputText()]
        yield self._event("content_part.added", **self._part(message), part=message.content[0])

    def _call(self, piece: CallPiece) -> Iterator[Event]:
        call = self._calls.get(piece.index)
        if call is None:
            if piece.name is None:
                raise unreadable()
            call = FunctionCallOutput(
                id=new_id("fc"), call_id=piece.id or new_id("call"), name=piece.name
            )
            self._calls[piece.index] = call
            yield self._add(call)
        if piece.arguments:
            call.arguments += piece.arguments
            yield self._event(
                "function_call_arguments.delta", **self._where(call), delta=piece.arguments
            )

    def _end_reasoning(self, item: ReasoningOutput, status: Status) -> Iterator[Event]:
        text = item.content[0].text
        yield self._event("reasoning_text.done", **self._part(item), text=text)
        item.status = status
        yield self._item_done(item)

    def _end_message(
        self, item: MessageOutput, status: Status, annotations: Iterable[FileCitation]
    ) -> Iterator[Event]:
        part = item.content[0]
        for n, annotation in enumerate(annotations):
            part.annotations.append(annotation)
            yield self._event(
                "output_text.annotation.added",
                **self._part(item),
                annotation_index=n,
                annotation=annotation,
            )
        yield self._event("output_text.done", **self._part(item), text=part.text, logprobs=[])
        yield self._event("content_part.done", **self._part(item), part=part)
        item.status = status
        yield self._item_done(item)

    def _end_call(self, item: FunctionCallOutput, status: Status) -> Iterator[Event]:
        yield self._event(
            "function_call_arguments.done",
            **self._where(item),
            name=item.name,
            arguments=item.arguments,
        )
        item.status = status
        yield self._item_done(item)

    def _add(self, item: Output, shown: Output | None = None) -> Event:
        self._places[item.id] = len(self.response.output)
        self.response.output.append(item)
        return self._event(
            "output_item.added", output_index=self._places[item.id], item=shown or item
        )

    def _item_done(self, item: Output) -> Event:
        return self._event("output_item.done", output_index=self._places[item.id], item=item)

    def _where(self, item: Output) -> Event:
        return {"item_id": item.id, "output_index": self._places[item.id]}

    def _part(self, item: Output) -> Event:
        """An item here has one part."""
        return {**self._where(item), "content_index": 0}

    def _event(self, kind: str, **fields: Any) -> Event:
        event = {"type": f"response.{kind}", "sequence_number": self._sequence, **fields}
        self._sequence += 1
        return event

    def _used(self) -> ResponseUsage | None:
        if self._usage is None:
            return None
        return ResponseUsage(
            input_tokens=self._usage.prompt_tokens,
            input_tokens_details=InputTokensDetails(cached_tokens=self._cached_tokens),
            output_tokens=self._usage.completion_tokens,
            total_tokens=self._usage.total_tokens,
        )


def _cut_short(finish_reason: str | None) -> IncompleteDetails | None:
    if finish_reason == "length":
        return IncompleteDetails(reason="max_output_tokens")
    if finish_reason == "content_filter":
        return IncompleteDetails(reason="content_filter")
    return None
