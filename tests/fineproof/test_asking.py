"""``fineproof ask`` before a real generator behind a real front door, and a vLLM by rote."""

import json
from collections.abc import Callable, Iterator

import pytest
from typer.testing import CliRunner

from fineproof.cli import app
from fineproof.errors import UserError
from fineproof.local.front_door import create_app
from services.common.contracts.generator import RagAnswer
from tests.services.generator.adapters.shelf import Shelf
from tests.services.generator.conftest import BASE, StartGenerator, serving
from tests.services.generator.conftest import registry as registry
from tests.services.generator.conftest import shelf as shelf
from tests.services.generator.conftest import start_generator as start_generator
from tests.services.generator.conftest import upstream as upstream
from tests.services.generator.registry import Registry
from tests.services.generator.upstream import Upstream

Ask = Callable[..., str]
QUESTION = "For how long are audit logs kept?"
AWAY = "http://127.0.0.1:9"


@pytest.fixture
def ask(
    start_generator: StartGenerator,
    upstream: Upstream,
    registry: Registry,
    shelf: Shelf,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Ask]:
    """``ask(*arguments)`` gives what ``fineproof ask`` prints; the store ``vs_1`` has passages."""
    shelf.put(
        "vs_1",
        ("retention", "Audit logs are kept for 47 days.", 0.9),
        ("invoices", "Invoices are kept for ten years.", 0.5),
        ("holidays", "Nobody works on Sundays.", 0.1),
    )
    generator = start_generator(upstream.url, trainer_url=registry.url, retriever_url=shelf.url)
    origins = {"generator": generator, "retriever": shelf.url, "trainer": AWAY, "evaluator": AWAY}
    monkeypatch.setenv("COLUMNS", "60")

    def told(*arguments: str) -> str:
        done = CliRunner().invoke(app, ["ask", *arguments], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.stdout

    with serving(create_app(origins)) as url:
        monkeypatch.setenv("FINEPROOF_URL", url)
        yield told


def test_an_answer_is_shown_with_the_words_of_the_passages_it_cites(
    ask: Ask, upstream: Upstream, shelf: Shelf
) -> None:
    upstream.text = ("They are kept", " for 47 days.")
    answer, gap, cited, told = ask(QUESTION, "--store", "vs_1", "--top-k", "2").splitlines()
    assert (answer, gap) == ("They are kept for 47 days.", "")
    assert cited == "[1] Retention: “are kept for 47 days”"
    assert told.startswith(f"{BASE}, 1 of 2 passages cited, ")
    assert shelf.asks[0]["max_num_results"] == 2
    assert json.loads(upstream.bodies[-1])["stream"] is True


def test_without_a_store_it_is_asked_closed_book(
    ask: Ask, upstream: Upstream, shelf: Shelf
) -> None:
    upstream.finish_reason = "length"
    answer, _, told = ask(QUESTION).splitlines()
    assert answer == "Hello there."
    assert told.startswith(f"{BASE}, closed book, cut off at max_tokens, ")
    assert shelf.asks == []
    assert QUESTION in upstream.bodies[-1].decode()


def test_reasoning_stands_above_the_answer(ask: Ask, upstream: Upstream) -> None:
    upstream.text = ("##Reason: Passage [1] says so. ##An", "swer: Kept for 47 days.")
    said = ask(QUESTION, "--store", "vs_1").splitlines()
    assert said[:2] == ["Passage [1] says so.", "Kept for 47 days."]


def test_what_turns_out_to_be_reasoning_is_said_to_be(ask: Ask, upstream: Upstream) -> None:
    upstream.text = ("Let me see.", " ##Answer: 47 days.")
    said = ask(QUESTION, "--store", "vs_1").splitlines()
    assert said[:3] == ["Let me see.", "(So far it was reasoning.)", "47 days."]


def test_json_is_the_whole_answer(ask: Ask, upstream: Upstream) -> None:
    upstream.text = ("They are kept", " for 47 days.")
    told = RagAnswer.model_validate_json(ask(QUESTION, "--store", "vs_1", "--json"))
    assert told.answer == "They are kept for 47 days."
    assert [citation.passage_id for citation in told.citations] == ["retention"]


def test_nothing_that_a_model_says_commands_the_terminal(ask: Ask, upstream: Upstream) -> None:
    upstream.text = ("\x1b[2J47\u00a0days", "\u2028\x07[red]kept[/red]")
    said = ask(QUESTION)
    assert said.startswith(" [2J47 days  [red]kept[/red]\n")


@pytest.mark.parametrize("form", [(), ("--json",)])
@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--model", "ft:nobody:qa:1"), "ft:nobody:qa:1"),
        (("--store", "vs_none"), "No vector store 'vs_none'"),
        (("--model", "a/../b?"), "model: String should match pattern"),
    ],
)
def test_what_cannot_be_asked_is_a_sentence(
    ask: Ask, arguments: tuple[str, ...], complaint: str, form: tuple[str, ...]
) -> None:
    with pytest.raises(UserError) as caught:
        ask(QUESTION, *arguments, *form)
    assert complaint in str(caught.value)


def test_an_answer_that_breaks_off_is_no_answer(ask: Ask, upstream: Upstream) -> None:
    upstream.fault = "cut"
    with pytest.raises(UserError, match="model server"):
        ask(QUESTION)
