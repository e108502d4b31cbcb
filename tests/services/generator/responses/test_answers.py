"""Answers to a search and without one, before a model server that says what a test wants."""

import json
from typing import Any

import pytest

from services.common.contracts.generator import UsedPassage
from services.common.prompts import SYSTEM, render_messages
from tests.services.generator.adapters.shelf import Shelf
from tests.services.generator.conftest import BASE
from tests.services.generator.responses.conftest import BILLS, LOGS, QUESTION, Ask, tool
from tests.services.generator.upstream import Upstream


def given(index: int, title: str, text: str) -> UsedPassage:
    return UsedPassage(index=index, id=title, doc_id=None, title=title, text=text, score=None)


def sent(upstream: Upstream) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(upstream.bodies[-1])
    return body


def test_a_question_to_a_store_is_asked_in_the_words_of_training(
    ask: Ask, upstream: Upstream, shelf: Shelf
) -> None:
    answer = ask(tools=[tool()], max_output_tokens=40, temperature=0.5, top_p=0.9)
    assert answer.status_code == 200, answer.text
    passages = [given(1, "Retention", LOGS), given(2, "Billing", BILLS)]
    assert sent(upstream) == {
        "model": BASE,
        "messages": render_messages(QUESTION, passages),
        "max_tokens": 40,
        "temperature": 0.5,
        "top_p": 0.9,
    }
    assert [asked["query"] for asked in shelf.asks] == [QUESTION]


def test_a_citation_names_its_file_and_both_spans(ask: Ask, upstream: Upstream) -> None:
    upstream.text = ("They are kept", " for 47 days.")
    response = ask(tools=[tool()], include=["file_search_call.results"]).json()
    searched, message = response["output"]
    (part,) = message["content"]
    (citation,) = part["annotations"]
    assert part["text"] == "They are kept for 47 days."
    assert (citation["type"], citation["file_id"]) == ("file_citation", "doc_retention")
    assert (citation["filename"], citation["index"]) == ("Retention", 0)
    assert part["text"][citation["start"] : citation["end"]] == "are kept for 47 days"
    found = searched["results"][citation["index"]]
    assert found["passage_id"] == citation["passage_id"] == "retention"
    assert found["vector_store_id"] == citation["vector_store_id"] == "vs_1"
    span = found["text"][citation["passage_start"] : citation["passage_end"]]
    assert span == citation["quote"] == "are kept for 47 days"


def test_the_search_says_what_it_asked_and_its_results_only_where_wanted(ask: Ask) -> None:
    (searched, _) = ask(tools=[tool()]).json()["output"]
    assert (searched["type"], searched["status"]) == ("file_search_call", "completed")
    assert (searched["queries"], searched["results"]) == ([QUESTION], None)
    (searched, _) = ask(tools=[tool()], include=["file_search_call.results"]).json()["output"]
    assert [result["text"] for result in searched["results"]] == [LOGS, BILLS]
    assert searched["results"][1]["attributes"] == {"place": 1}


def test_stores_are_merged_by_score(ask: Ask, upstream: Upstream, shelf: Shelf) -> None:
    shelf.put("vs_2", ("better", "B.", 0.95), ("equal", "E.", 0.9), ("worse", "W.", 0.1))
    response = ask(
        tools=[tool("vs_1", "vs_2", "vs_1", max_num_results=3)],
        include=["file_search_call.results"],
    ).json()
    found = response["output"][0]["results"]
    assert [(one["vector_store_id"], one["passage_id"]) for one in found] == [
        ("vs_2", "better"),
        ("vs_1", "retention"),
        ("vs_2", "equal"),
    ]
    assert sorted(asked["store"] for asked in shelf.asks) == ["vs_1", "vs_2"]
    assert "[3] Equal" in sent(upstream)["messages"][-1]["content"]


def test_filters_and_ranking_reach_the_retriever(ask: Ask, shelf: Shelf) -> None:
    filters = {"type": "eq", "key": "place", "value": 1.0}
    ranking = {
        "ranker": "auto",
        "score_threshold": 0.2,
        "hybrid_search": {"embedding_weight": 1.0, "text_weight": 2.0},
    }
    assert ask(tools=[tool(filters=filters, ranking_options=ranking)]).status_code == 200
    (asked,) = shelf.asks
    assert (asked["filters"], asked["ranking_options"]) == (filters, ranking)
    assert asked["max_num_results"] == 5


def test_passages_beyond_the_window_are_left_out_and_said_to_be(
    ask: Ask, upstream: Upstream, shelf: Shelf
) -> None:
    shelf.put("vs_1", *((f"p{n}", "word " * 100, 1 / (n + 1)) for n in range(8)))
    search = tool(max_num_results=8)
    response = ask(tools=[search], include=["file_search_call.results"], max_output_tokens=100)
    (searched, _) = response.json()["output"]
    assert [result["in_prompt"] for result in searched["results"]] == [True] * 3 + [False] * 5
    assert searched["left_out"] == 5
    assert "[3]" in sent(upstream)["messages"][-1]["content"]
    assert "[4]" not in sent(upstream)["messages"][-1]["content"]


def test_where_nothing_is_found_the_question_is_asked_closed_book(
    ask: Ask, upstream: Upstream, shelf: Shelf
) -> None:
    shelf.put("vs_1")
    response = ask(tools=[tool()]).json()
    assert sent(upstream)["messages"] == render_messages(QUESTION)
    assert response["output"][1]["content"][0]["annotations"] == []


def test_without_a_search_the_conversation_is_told_as_it_is(ask: Ask, upstream: Upstream) -> None:
    said = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": [{"type": "input_text", "text": "Hi"}]},
        {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "status": "completed",
            "content": [{"type": "output_text", "text": "Hello.", "annotations": []}],
        },
        {"type": "reasoning", "id": "rs_1", "summary": []},
        {"role": "system", "content": "Be rude."},
        {"role": "user", "content": "Bye"},
    ]
    response = ask(said, instructions="You are Ada.").json()
    assert sent(upstream)["messages"] == [
        {"role": "system", "content": "You are Ada.\n\nBe brief."},
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello."},
        {"role": "system", "content": "Be rude."},
        {"role": "user", "content": "Bye"},
    ]
    (message,) = response["output"]
    assert message["content"][0]["text"] == "Hello there."
    ask()
    assert sent(upstream) == {
        "model": BASE,
        "messages": [{"role": "user", "content": QUESTION}],
    }


def test_a_search_is_for_what_the_user_said_last(
    ask: Ask, upstream: Upstream, shelf: Shelf
) -> None:
    said = [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello."},
        {"role": "user", "content": QUESTION},
    ]
    assert ask(said, tools=[tool()], instructions="You are Ada.").status_code == 200
    assert shelf.asks[0]["query"] == QUESTION
    system, *earlier, question = sent(upstream)["messages"]
    assert system["content"] == "You are Ada."
    assert earlier == said[:2]
    assert LOGS in question["content"]
    assert question["content"].endswith(f"Question: {QUESTION}")
    ask(said, tools=[tool()])
    assert sent(upstream)["messages"][0]["content"] == SYSTEM


@pytest.mark.parametrize("choice", ["none", {"type": "function", "name": "add"}])
def test_a_choice_of_another_tool_or_none_makes_no_search(
    ask: Ask, shelf: Shelf, choice: Any
) -> None:
    tools = [tool(), {"type": "function", "name": "add"}]
    assert ask(tools=tools, tool_choice=choice).status_code == 200
    assert shelf.asks == []


@pytest.mark.parametrize("choice", ["auto", "required", {"type": "file_search"}])
def test_a_search_is_made_whenever_it_may_be(ask: Ask, shelf: Shelf, choice: Any) -> None:
    response = ask(tools=[tool()], tool_choice=choice).json()
    assert len(shelf.asks) == 1
    assert response["tool_choice"] == choice or response["tool_choice"]["type"] == "file_search"


def test_a_schema_becomes_a_response_format(ask: Ask, upstream: Upstream) -> None:
    schema = {"type": "object", "properties": {"days": {"const": None}}}
    wanted = {"type": "json_schema", "name": "days", "schema": schema, "strict": True}
    response = ask(text={"format": wanted}).json()
    assert sent(upstream)["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "days", "schema": schema, "strict": True},
    }
    assert response["text"]["format"]["schema"] == schema
    ask(text={"format": {"type": "json_object"}})
    assert sent(upstream)["response_format"] == {"type": "json_object"}
    ask(text={"format": {"type": "text"}})
    assert "response_format" not in sent(upstream)


def test_functions_go_to_the_model_and_its_calls_come_back(ask: Ask, upstream: Upstream) -> None:
    add = {"type": "function", "name": "add", "parameters": {"type": "object"}, "strict": True}
    upstream.text, upstream.calls = ("", ""), [("add", '{"a": 1}'), ("add", "{}")]
    upstream.finish_reason = "tool_calls"
    response = ask(tools=[add], parallel_tool_calls=False).json()
    calls = [(item["type"], item["name"], item["arguments"]) for item in response["output"]]
    assert calls == [("function_call", "add", '{"a": 1}'), ("function_call", "add", "{}")]
    assert response["status"] == "completed"
    function = {"name": "add", "parameters": {"type": "object"}, "strict": True}
    assert sent(upstream)["tools"] == [{"type": "function", "function": function}]
    assert sent(upstream)["tool_choice"] == "auto"
    assert sent(upstream)["parallel_tool_calls"] is False
    upstream.calls, upstream.text = [], ("It is", " 3.")
    outputs = [
        {"type": "function_call_output", "call_id": item["call_id"], "output": "3"}
        for item in response["output"]
    ]
    said = [{"role": "user", "content": QUESTION}, *response["output"], *outputs]
    again = ask(said, tools=[add, tool()], tool_choice="required").json()
    _, question, assistant, *results = sent(upstream)["messages"]
    assert LOGS in question["content"]
    assert [call["id"] for call in assistant["tool_calls"]] == ["call_0", "call_1"]
    assert assistant["tool_calls"][0]["function"] == {"name": "add", "arguments": '{"a": 1}'}
    assert results == [
        {"role": "tool", "tool_call_id": f"call_{n}", "content": "3"} for n in range(2)
    ]
    assert sent(upstream)["tool_choice"] == "auto", "the search was the tool that was required"
    assert again["output"][-1]["content"][0]["text"] == "It is 3."


def test_one_function_can_be_asked_for(ask: Ask, upstream: Upstream) -> None:
    add = {"type": "function", "name": "add"}
    for choice in ("required", "none"):
        ask(tools=[add], tool_choice=choice)
        assert sent(upstream)["tool_choice"] == choice
    ask(tools=[add], tool_choice={"type": "function", "name": "add"})
    assert sent(upstream)["tool_choice"] == {"type": "function", "function": {"name": "add"}}


def test_reasoning_is_an_item_of_its_own(ask: Ask, upstream: Upstream) -> None:
    upstream.text = ("##Reason: Passage [1] says so. ##An", "swer: Kept for 47 days.")
    _, reasoning, message = ask(tools=[tool()]).json()["output"]
    assert reasoning["type"] == "reasoning"
    assert reasoning["content"] == [{"type": "reasoning_text", "text": "Passage [1] says so."}]
    (part,) = message["content"]
    assert part["text"] == "Kept for 47 days."
    assert [citation["quote"] for citation in part["annotations"]] == ["kept for 47 days"]


def test_an_answer_cut_at_its_length_is_incomplete(ask: Ask, upstream: Upstream) -> None:
    upstream.finish_reason = "length"
    response = ask(max_output_tokens=2).json()
    assert response["status"] == "incomplete"
    assert response["incomplete_details"] == {"reason": "max_output_tokens"}
    assert response["completed_at"] is None
    assert response["output"][0]["status"] == "incomplete"


def test_a_model_that_says_nothing_has_said_an_empty_message(ask: Ask, upstream: Upstream) -> None:
    upstream.text = ("", "")
    (message,) = ask().json()["output"]
    assert message["content"][0]["text"] == ""


def test_usage_has_openais_names(ask: Ask) -> None:
    assert ask().json()["usage"] == {
        "input_tokens": 7,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": 2,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 9,
    }


def test_what_was_asked_is_echoed_and_nothing_is_kept(ask: Ask, url: str) -> None:
    metadata = {"team": "blue"}
    response = ask(metadata=metadata, store=True, user="ada", temperature=0.3, tools=[tool()])
    body = response.json()
    assert (body["metadata"], body["user"], body["temperature"]) == (metadata, "ada", 0.3)
    assert (body["store"], body["background"], body["model"]) == (False, False, BASE)
    assert body["tools"][0]["vector_store_ids"] == ["vs_1"]
    assert body["status"] == "completed"
