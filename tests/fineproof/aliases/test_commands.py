"""``fineproof alias`` before real services behind a real front door, and a vLLM by rote."""

from collections.abc import Callable, Iterator

import pytest
from typer.testing import CliRunner

from fineproof.cli import app
from fineproof.errors import UserError
from fineproof.local.front_door import create_app
from services.evaluator.report import build_report
from tests.services.evaluator.conftest import specification
from tests.services.evaluator.test_gate import proven
from tests.services.evaluator.test_report import measured
from tests.services.generator.aliases.gates import EXPERIMENT, Gates
from tests.services.generator.aliases.test_aliases import LIVE, ONE, PRODUCTION, TWO
from tests.services.generator.aliases.test_aliases import adapters as adapters
from tests.services.generator.aliases.test_aliases import gates as gates
from tests.services.generator.conftest import BASE, StartGenerator, serving
from tests.services.generator.conftest import registry as registry
from tests.services.generator.conftest import start_generator as start_generator
from tests.services.generator.conftest import upstream as upstream
from tests.services.generator.registry import Registry
from tests.services.generator.upstream import Upstream

Run = Callable[..., str]
ARMS = [
    {"name": "base", "model": BASE},
    {"name": "rag", "model": ONE},
    {"name": "qa", "model": TWO},
]


@pytest.fixture
def run(
    start_generator: StartGenerator,
    upstream: Upstream,
    registry: Registry,
    gates: Gates,
    adapters: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Run]:
    """``run(*arguments)`` gives what ``fineproof alias`` prints. ``ONE`` passes, ``TWO`` hurts."""
    spec = specification(arms=ARMS)
    found = proven(build_report(measured(arms=ARMS)), adapters)
    gates.keep(spec, found)
    generator = start_generator(upstream.url, trainer_url=registry.url, evaluator_url=gates.url)
    origins = {"generator": generator, "evaluator": gates.url, "trainer": registry.url}
    monkeypatch.setenv("COLUMNS", "300")

    def told(*arguments: str) -> str:
        done = CliRunner().invoke(app, ["alias", *arguments], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.output

    with serving(create_app({**origins, "retriever": "http://127.0.0.1:9"})) as url:
        monkeypatch.setenv("FINEPROOF_URL", url)
        yield told


def test_an_alias_is_set_and_listed(run: Run) -> None:
    assert run("set", LIVE, ONE) == f"{LIVE} stands for {ONE}\n"
    assert run("set", LIVE, TWO) == f"{LIVE} stands for {TWO}\n"
    _, line = run("list").splitlines()
    assert line.split()[:2] == [LIVE, TWO]
    assert line.split()[4] == "local"


def test_a_protected_one_is_set_by_the_gate_of_an_experiment(run: Run) -> None:
    with pytest.raises(UserError, match="protected"):
        run("set", PRODUCTION, ONE)
    with pytest.raises(UserError, match="HURTS retrieved"):
        run("set", PRODUCTION, TWO, "--experiment", EXPERIMENT)
    with pytest.raises(UserError, match="no arm with the model"):
        run("set", PRODUCTION, "ft:other", "--experiment", EXPERIMENT)
    said = run("set", PRODUCTION, ONE, "--experiment", EXPERIMENT)
    assert said.startswith(f"{PRODUCTION} stands for {ONE}, by gate gate_")
    assert said.split("by gate ")[1].strip() in run("list")


def test_without_a_stack_it_says_how_to_start_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FINEPROOF_URL", raising=False)
    monkeypatch.setenv("FINEPROOF_PORT", "18900")
    with pytest.raises(UserError, match="fineproof up"):
        CliRunner().invoke(app, ["alias", "list"], catch_exceptions=False)
