"""From a job to its run's folder: checked, left out, rendered once."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import openai
import pytest

from services.trainer import storage
from services.trainer.preparing.findings import JobFailed
from services.trainer.preparing.inspection import Sources
from services.trainer.preparing.preparation import Prepared, prepare
from services.trainer.running.attempt import Workshop
from services.trainer.settings import TrainerSettings
from services.trainer.training.config import RunFolder
from tests.services.generator.conftest import (  # noqa: F401
    BASE,
    StartGenerator,
    start_generator,
    upstream,
)
from tests.services.generator.upstream import Upstream
from tests.services.trainer.conftest import pairs

Upload = Callable[..., str]


@pytest.fixture
def settings(
    settings: TrainerSettings,
    tiny_model: Path,
    start_generator: StartGenerator,  # noqa: F811
    upstream: Upstream,  # noqa: F811
) -> TrainerSettings:
    changes = {
        "base_models": {BASE: str(tiny_model)},
        "generator_url": start_generator(upstream.url),
    }
    return settings.model_copy(update=changes)


def create(client: openai.OpenAI, file_id: str, checks: dict[str, Any], **asked: Any) -> str:
    return client.fine_tuning.jobs.create(
        model=BASE,
        training_file=file_id,
        method={"type": "supervised", "supervised": {"hyperparameters": asked}},  # type: ignore[typeddict-item]
        extra_body={"checks": checks},
    ).id


def prepared(workshop: Workshop, job_id: str, folder: RunFolder) -> Prepared:
    with workshop.db.transaction() as session:
        job = storage.get_job(session, job_id)
        assert job is not None
        files = storage.files_of(session, job)
    sources = Sources(workshop.settings, workshop.store, lambda: None)
    return prepare(sources, folder, job, files)


def data_of(found: Prepared) -> dict[str, dict[str, Any]]:
    return {finding.data["check"]: finding.data for finding in found.findings if finding.data}


def test_findings_are_told_and_left_out_as_asked(
    client: openai.OpenAI,
    upload: Upload,
    workshop: Workshop,
    upstream: Upstream,  # noqa: F811
    tmp_path: Path,
) -> None:
    upstream.text = ("It is", " 6.")
    rows = [*pairs(15), *pairs(2), {"question": "too " * 2000, "answer": "long"}]
    test = client.files.create(
        file=("test.jsonl", json.dumps(pairs(6)[5]).encode()), purpose="evals"
    )
    checks = {
        "test_file": test.id,
        "known_facts": True,
        "drop": ["duplicates", "overlap", "known"],
    }
    folder = RunFolder(tmp_path / "run")
    found = prepared(workshop, create(client, upload(rows), checks), folder)
    told = data_of(found)
    assert (told["duplicates"]["exact"], told["test_file"]["questions"]) == (2, 1)
    assert told["known_facts"]["known"] == round(1 / 14, 4)  # of 3 and 3; 4 are not asked
    assert told["drop"] == {
        "check": "drop",
        "examples": 18,
        "duplicates": 2,
        "known": 1,
        "overlap": 1,
    }
    assert told["max_length"]["too_long"] == 1
    lines = [json.loads(line)["line"] for line in folder.train.open()]
    assert lines == [1, 2, 3, 5, *range(7, 16)]
    assert found.examples == len(lines)


def test_another_host_goes_on_with_what_was_found_and_rendered(
    client: openai.OpenAI,
    upload: Upload,
    workshop: Workshop,
    upstream: Upstream,  # noqa: F811
    tmp_path: Path,
) -> None:
    job_id = create(client, upload([*pairs(10), *pairs(1)]), {"known_facts": True})
    here, there = RunFolder(tmp_path / "here"), RunFolder(tmp_path / "there")
    first = prepared(workshop, job_id, here)
    upstream.bodies.clear()
    assert prepared(workshop, job_id, here) == first
    shutil.rmtree(here.path)
    assert prepared(workshop, job_id, there) == first
    assert upstream.bodies == []


def test_a_check_that_leaves_too_few_examples_fails_the_job(
    client: openai.OpenAI, upload: Upload, workshop: Workshop, tmp_path: Path
) -> None:
    checks = {"drop": ["duplicates"]}
    job_id = create(client, upload([*pairs(9), *pairs(3)]), checks)
    with pytest.raises(JobFailed, match="9 examples are left of 12") as failed:
        prepared(workshop, job_id, RunFolder(tmp_path / "run"))
    assert failed.value.failure.param == "checks.drop"


def test_a_test_set_that_cannot_be_read_is_named(
    client: openai.OpenAI, upload: Upload, workshop: Workshop, tmp_path: Path
) -> None:
    checks = {"test_file": upload(b'{"question": "Q"}')}
    with pytest.raises(JobFailed, match="Line 1 of the test set has no 'answer'") as failed:
        prepared(workshop, create(client, upload(pairs(10)), checks), RunFolder(tmp_path / "run"))
    assert failed.value.failure.code == "invalid_test_file"


def test_a_chat_template_that_refuses_the_prompt_is_quoted(
    client: openai.OpenAI, upload: Upload, workshop: Workshop, tiny_model: Path, tmp_path: Path
) -> None:
    job_id = create(client, upload(pairs(10)), {})
    model = shutil.copytree(tiny_model, tmp_path / "model")
    (model / "chat_template.jinja").write_text("{{ raise_exception('no system role') }}")
    changed = workshop.settings.model_copy(update={"base_models": {BASE: str(model)}})
    with pytest.raises(JobFailed, match="lines 1 to 10: no system role"):
        prepared(replace(workshop, settings=changed), job_id, RunFolder(tmp_path / "run"))


@pytest.mark.parametrize(
    ("checks", "param"),
    [
        ({"drop": ["overlap"]}, "checks"),
        ({"drop": ["known"]}, "checks"),
        ({"test_file": "file-none"}, "checks.test_file"),
        ({"vector_store_id": "vs_1"}, "checks.vector_store_id"),
    ],
)
def test_checks_that_cannot_be_done_are_refused_at_once(
    client: openai.OpenAI, upload: Upload, checks: dict[str, Any], param: str
) -> None:
    with pytest.raises((openai.BadRequestError, openai.NotFoundError)) as refused:
        create(client, upload(pairs(10)), checks)
    assert refused.value.param == param
