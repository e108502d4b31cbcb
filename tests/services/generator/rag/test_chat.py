import json
from typing import Any

import pytest

from services.common.errors import UpstreamFailed
from services.generator.rag.chat import CallPiece, Piece, Said, piece_of, take, whole

USAGE = {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9}


def chunk(delta: Any, **more: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": delta}], **more}


def test_a_whole_answer_is_one_piece() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": "{}"}}
    message = {"content": None, "reasoning": "Hm.", "tool_calls": [call]}
    usage = USAGE | {"prompt_tokens_details": {"cached_tokens": 4}}
    body = {"choices": [{"message": message, "finish_reason": "tool_calls"}], "usage": usage}
    piece = whole(json.dumps(body).encode())
    assert (piece.text, piece.reasoning, piece.finish_reason) == ("", "Hm.", "tool_calls")
    assert piece.calls == (CallPiece(0, "c1", "add", "{}"),)
    assert piece.usage is not None
    assert (piece.usage.total_tokens, piece.cached_tokens) == (9, 4)


def test_pieces_add_up() -> None:
    said = Said()
    for each in (chunk({"role": "assistant"}), chunk({"content": "A"}), chunk({"content": "da"})):
        take(said, each)
    take(said, {"choices": [], "usage": USAGE})
    assert said.text == "Ada"
    assert said.usage is not None


def test_a_piece_of_a_call_need_not_say_whose_it_is() -> None:
    more = {"index": 1, "function": {"arguments": "{"}}
    assert piece_of(chunk({"tool_calls": [more]})) == Piece(calls=(CallPiece(1, None, None, "{"),))


@pytest.mark.parametrize(
    "spoilt",
    [
        {},
        {"choices": [7]},
        {"choices": [{}]},
        chunk(7),
        chunk({"content": ["A"]}),
        chunk({"tool_calls": 7}),
        chunk({"tool_calls": [{}]}),
        chunk({"tool_calls": [{"index": [], "function": {}}]}),
        chunk({"tool_calls": [{"function": {"name": 7}}]}),
        chunk({}, usage={"prompt_tokens": "many"}),
        chunk({}, usage=7),
        {"choices": [{"delta": {}, "finish_reason": {}}]},
    ],
)
def test_what_is_no_piece_is_the_model_servers_fault(spoilt: dict[str, Any]) -> None:
    with pytest.raises(UpstreamFailed) as caught:
        piece_of(spoilt)
    assert caught.value.code == "model_server_malformed"
