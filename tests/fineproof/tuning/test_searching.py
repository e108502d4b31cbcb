"""``fineproof tune --until-it-helps`` with reports made up in place of experiments that are run.

What is followed here is the search: what it asks for, in which order, and how it ends. That a real
evaluator understands what it is asked, and says what is read of it, is another file's matter.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI

from fineproof.data.reading import PAIR, rows
from fineproof.errors import UserError
from fineproof.experiment.dataset import Dataset
from fineproof.experiment.memory import Memory
from fineproof.experiment.specification import Specification
from fineproof.tuning.candidates import Candidate
from services.common.contracts.evaluator import Report
from services.common.contracts.findings import Action
from services.common.contracts.hyperparameters import SupervisedHyperparameters
from services.common.errors import Unavailable
from tests.fineproof.tuning.conftest import Tune, write
from tests.fineproof.tuning.reports import Found, report
from tests.services.generator.conftest import serving

HELPS: Found = ("HELPS", 0.3)
HURTS: Found = ("HURTS", -0.3)
UNSURE: Found = ("INCONCLUSIVE", 0.02)
SAME: Found = ("EQUIVALENT", 0.0)
SEARCH = "--until-it-helps"


@dataclass
class Rounds:
    """In place of ``pipeline.run``. ``finds`` says by candidate or round what it will find, each
    metric in its order, else it is unsure; ``fails`` are rounds that come to no end."""

    finds: dict[str, tuple[Found, Found]] = field(default_factory=dict)
    remedies: dict[str, tuple[Action, ...]] = field(default_factory=dict)
    fails: dict[str, BaseException] = field(default_factory=dict)
    studies: list[Specification] = field(default_factory=list)
    asked: list[list[str]] = field(default_factory=list)
    memories: list[Memory] = field(default_factory=list)
    made: dict[str, Candidate] = field(default_factory=dict)

    async def __call__(
        self, study: Specification, half: Dataset, *, out: Path, memory: Memory, **_: Any
    ) -> Report:
        assert out.name == study.name
        if study.name in self.fails:
            raise self.fails[study.name]
        self.studies.append(study)
        self.asked.append([row["id"] for row in rows(half.test, PAIR)])
        self.memories.append(memory)
        base, arm = study.arms
        assert (base.name, base.model, base.tune) == ("base", None, None)
        found = self.finds.get(study.name, self.finds.get(arm.name, (UNSURE, UNSURE)))
        if arm.tune is not None:
            self.made[arm.name] = _candidate(arm.tune.hyperparameters)
        tries = self.remedies.get(arm.name, ())
        return report(self.made[arm.name], *found, name=study.name, adapter=arm.model, tries=tries)

    @property
    def arms(self) -> list[str]:
        return [study.arms[1].name for study in self.studies]


def _candidate(asked: SupervisedHyperparameters) -> Candidate:
    assert isinstance(asked.n_epochs, int)
    return Candidate(recipe=asked.recipe, n_epochs=asked.n_epochs, rank=asked.lora.r)


@pytest.fixture(scope="module")
def somebody() -> Iterator[str]:
    """A stack as far as it is asked for here: it answers."""
    app = FastAPI()
    app.add_api_route("/healthz", lambda: {"status": "ok"})
    with serving(app) as url:
        yield url


@pytest.fixture
def rounds(somebody: str, monkeypatch: pytest.MonkeyPatch) -> Rounds:
    monkeypatch.setenv("FINEPROOF_URL", somebody)
    made = Rounds()
    monkeypatch.setattr("fineproof.experiment.pipeline.run", made)
    return made


Read = Callable[[], Any]


@pytest.fixture
def search_json(tmp_path: Path) -> Read:
    return lambda: json.loads((tmp_path / "out" / "search.json").read_text())


def test_a_candidate_that_helps_ends_the_search_and_is_confirmed_on_the_other_half(
    tune: Tune, rounds: Rounds, search_json: Read
) -> None:
    rounds.finds = {"qa-e2-r16": (HURTS, SAME), "rag-e2-r16": (HELPS, UNSURE)}
    rounds.remedies = {"qa-e2-r16": ("recipe_rag",)}
    told = tune(SEARCH)
    assert told.code == 0, told.stderr
    assert [study.name for study in rounds.studies] == ["round-1", "round-2", "confirmation"]
    assert rounds.arms == ["qa-e2-r16", "rag-e2-r16", "rag-e2-r16"]
    chosen_by, again, confirmed_on = rounds.asked
    assert chosen_by == again
    assert sorted(chosen_by + confirmed_on) == sorted(f"q{n}" for n in range(100, 128))
    assert {int(id_[1:]) // 2 for id_ in chosen_by}.isdisjoint(
        int(id_[1:]) // 2 for id_ in confirmed_on
    )
    assert len({id(memory) for memory in rounds.memories}) == 1

    found = search_json()
    first, second = found["rounds"]
    assert first["because"] == "The search was told to begin there."
    assert second["because"] == "Try recipe_rag. It was seen."
    assert second["measured"]["candidate"]["recipe"] == "rag"
    assert first["measured"]["verdict"] == "HURTS"
    assert [one["verdict"] for one in first["measured"]["comparisons"]] == ["HURTS", "EQUIVALENT"]
    assert first["measured"]["comparisons"][0]["base"] == 0.5
    assert first["measured"]["estimate"] == pytest.approx(-0.15)
    assert found["ended"] == "Round 2 helps."
    assert (found["confirmed"]["round"], found["confirmed"]["because"]) == (2, "it helps")
    assert found["adapter"] == second["measured"]["adapter"] == "ft:small:rag-e2-r16:1"
    assert (found["verdict"], found["exit_code"]) == ("HELPS", 0)
    assert (found["search"]["documents"], found["confirmation"]["documents"]) == (7, 7)


def test_the_adapter_that_was_chosen_is_measured_and_no_other_like_it(
    tune: Tune, rounds: Rounds
) -> None:
    rounds.finds = {"round-1": (HELPS, SAME)}
    tune(SEARCH)
    searched, confirmed = (study.arms[1] for study in rounds.studies)
    assert searched.tune is not None
    assert confirmed.tune is None
    assert confirmed.model == "ft:small:qa-e2-r16:1"


def test_every_round_asks_the_same_and_decides_by_what_was_declared(
    tune: Tune, rounds: Rounds
) -> None:
    options = ("--metric", "chrf", "--metric", "refusal", "--metric", "chrf", "--rounds", "2")
    options += ("--condition", "oracle", "--max-tokens", "40", "--passages", "5", "--seed", "7")
    options += ("--within-document",)
    tune(SEARCH, *options, "--epochs", "3", "--rank", "32", "--learning-rate", "1e-3")
    first, _, confirmation = rounds.studies
    for study in rounds.studies:
        assert study.metrics == ["chrf", "refusal"]
        assert study.primary_conditions == ["oracle"]
        assert study.conditions == ["oracle", "closed_book"]
        assert (study.sampling.max_tokens, study.retrieval.max_num_results) == (40, 5)
        assert study.retrieval.within_document
    made = first.arms[1].asked("small", "file_1").tune
    assert made is not None
    assert (made.base_model, made.training_file, made.seeds) == ("small", "file_1", [7])
    inner = made.hyperparameters
    assert (made.recipe, inner.n_epochs, inner.lora.r, inner.lora.lora_alpha) == ("qa", 3, 32, 64)
    assert (inner.batch_size, inner.learning_rate, inner.retrieval) == (8, 1e-3, None)
    assert confirmation.name == "confirmation"


def test_where_no_round_helps_the_best_one_is_confirmed(
    tune: Tune, rounds: Rounds, search_json: Read
) -> None:
    rounds.finds = {
        "qa-e2-r16": (("INCONCLUSIVE", -0.1), SAME),
        "rag-e2-r16": (("INCONCLUSIVE", 0.2), SAME),
        "raft-e2-r16": (HURTS, ("HELPS", 0.9)),
    }
    told = tune(SEARCH, "--rounds", "3")
    assert told.code == 2
    assert rounds.arms == ["qa-e2-r16", "rag-e2-r16", "raft-e2-r16", "rag-e2-r16"]
    found = search_json()
    assert found["ended"] == "All 3 rounds are used up."
    assert found["confirmed"]["round"] == 2
    assert "of those that hurt nothing" in found["confirmed"]["because"]


@pytest.mark.parametrize(
    ("found", "verdict", "code"),
    [
        ((HELPS, SAME), "HELPS", 0),
        ((HELPS, HURTS), "HURTS", 1),
        ((UNSURE, HURTS), "HURTS", 1),
        ((UNSURE, SAME), "INCONCLUSIVE", 2),
        ((SAME, SAME), "EQUIVALENT", 2),
    ],
)
def test_only_the_confirmation_is_the_answer(
    tune: Tune,
    rounds: Rounds,
    search_json: Read,
    found: tuple[Found, Found],
    verdict: str,
    code: int,
) -> None:
    rounds.finds = {"round-1": (HELPS, HELPS), "confirmation": found}
    told = tune(SEARCH)
    assert told.code == code
    assert (search_json()["verdict"], search_json()["exit_code"]) == (verdict, code)
    assert search_json()["rounds"][0]["measured"]["verdict"] == "HELPS"


def test_a_search_that_broke_off_keeps_its_rounds_and_goes_the_same_way_again(
    tune: Tune, rounds: Rounds, search_json: Read, tmp_path: Path
) -> None:
    rounds.finds = {"rag-e2-r16": (HELPS, SAME)}
    rounds.fails = {"round-2": UserError("Job ftjob_2 failed: It did not fit.")}
    told = tune(SEARCH)
    assert told.code == 3
    assert "It did not fit" in told.stderr
    kept = search_json()
    assert [one["round"] for one in kept["rounds"]] == [1]
    assert (kept["verdict"], kept["exit_code"], kept["ended"]) == (None, None, None)

    rounds.fails = {"confirmation": Unavailable("The evaluator cannot be reached.")}
    told = tune(SEARCH, "--json")
    assert told.code == 3
    assert told.json["error"] == "The evaluator cannot be reached."
    assert [one["round"] for one in search_json()["rounds"]] == [1, 2]
    assert search_json()["ended"] == "Round 2 helps."

    rounds.fails = {}
    assert tune(SEARCH).code == 0
    assert search_json()["verdict"] == "HELPS"
    assert [study.name for study in rounds.studies] == [
        *("round-1",),
        *("round-1", "round-2"),
        *("round-1", "round-2", "confirmation"),
    ]
    again = [study.model_dump_json() for study in rounds.studies if study.name == "round-1"]
    assert len(again) == 3
    assert len(set(again)) == 1  # so that the memory, and the evaluator, know it


def test_an_interrupted_search_is_no_verdict(tune: Tune, rounds: Rounds) -> None:
    rounds.fails = {"round-1": KeyboardInterrupt()}
    assert tune(SEARCH).code == 130


def test_json_is_the_search_and_nothing_else(tune: Tune, rounds: Rounds, search_json: Read) -> None:
    rounds.finds = {"round-1": (HELPS, SAME)}
    told = tune(SEARCH, "--json")
    assert told.json == search_json()
    assert "Round 1 of 4: qa, 2 epochs, rank 16." in told.stderr


def test_a_person_is_shown_the_rounds_the_answer_and_what_else_to_try(
    tune: Tune, rounds: Rounds
) -> None:
    rounds.finds = {"qa-e2-r16": (HURTS, SAME)}
    rounds.remedies = {"qa-e2-r16": ("more_tokens", "recipe_rag", "more_passages")}
    told = tune(SEARCH, "--rounds", "2")
    assert told.code == 2
    shown = told.stdout
    for words in (
        "Round 1 of 2: qa, 2 epochs, rank 16. The search was told to begin there.",
        "Round 2 of 2: rag, 2 epochs, rank 16. Try recipe_rag. It was seen.",
        "rounds by 14 questions, the confirmation (✓) by 14 others",
        "1 qa-e2-r16",
        "2 rag-e2-r16",
        "✓ rag-e2-r16",
        "-0.300 [-0.400, -0.200]",
        "Not searched: Try more_tokens. It was seen.",
        "Not searched: Try more_passages. It was seen.",
        "It is undecided whether ft:small:rag-e2-r16:1 helps.",
        "480 questions to confirm on would settle",
        "confirmation/report.html",
        "Note: confirmation: 7 of 30 test questions stand in the training data.",
    ):
        assert words in shown
    assert "round-1: 7 of 30" not in shown


@pytest.mark.parametrize("width", ["80", "160"])
def test_nothing_is_cut_off_on_a_narrow_terminal(
    tune: Tune, rounds: Rounds, monkeypatch: pytest.MonkeyPatch, width: str
) -> None:
    monkeypatch.setenv("COLUMNS", width)
    rounds.finds = {"raft-e2-r16": (HELPS, SAME)}
    shown = tune(SEARCH, "--recipe", "raft").stdout
    for words in ("raft-e2-r16", "contains_answer", "+0.300 [+0.200, +0.400]", "EQUIVALENT"):
        assert words in shown
    assert "…" not in shown


def test_recipe_raft_is_left_out_where_pairs_name_no_gold(
    tune: Tune, rounds: Rounds, data: Path, search_json: Read
) -> None:
    pairs = [{"id": f"q{n}", "question": f"Why {n}?", "answer": "So."} for n in range(12)]
    pairs[0]["context"] = "So it is."
    write(data / "train.jsonl", pairs)
    told = tune(SEARCH, "--rounds", "3")
    assert rounds.arms[:3] == ["qa-e2-r16", "rag-e2-r16", "qa-e1-r16"]
    (note,) = search_json()["notes"]
    assert note == "Recipe raft is left out: 11 training pairs name no gold passage (evidence_ids)."
    assert note in told.stdout


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (("--rounds", "2"), "--rounds: it is for a search"),
        (("--metric", "chrf"), "--metric: it is for a search"),
        (("--max-tokens", "9"), "--max-tokens: it is for a search"),
        ((SEARCH, "--suffix", "mine"), "--suffix: leave it out"),
        ((SEARCH, "--metric", "a metric"), "metrics.0: String should match"),
        ((SEARCH, "--items", "20"), "about 10 documents"),
        ((SEARCH, "--recipe", "tea"), "tea"),
    ],
)
def test_what_cannot_be_done_is_said_before_anything_is(
    tune: Tune, rounds: Rounds, options: tuple[str, ...], complaint: str
) -> None:
    told = tune(*options)
    assert told.code == 3
    assert complaint in told.stderr
    assert rounds.studies == []
