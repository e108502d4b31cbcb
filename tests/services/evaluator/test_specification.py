"""What an experiment may be asked with, in JSON and in YAML."""

from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from services.common.contracts.evaluator import Experiment, ExperimentCreate
from services.common.errors import InvalidRequest
from services.evaluator.yaml_bodies import as_json
from tests.services.evaluator.conftest import Bench, specification

URL = "/v1/experiments"
YAML = {"Content-Type": "application/yaml; charset=utf-8"}


def sha256(**changes: Any) -> str:
    return ExperimentCreate.model_validate(specification(**changes)).sha256


def test_a_specification_has_one_hash_however_it_is_written() -> None:
    assert sha256() == sha256(version=1, baseline="base", sampling={"max_tokens": 64})
    assert sha256() == sha256(**dict(reversed(specification().items())))


def test_the_hash_is_of_what_decides_the_result_and_of_nothing_else() -> None:
    apart = {"name": "other", "metadata": {"a": "b"}, "budget": {"max_tokens": 9}}
    assert sha256(**apart, prices={"base": {"prompt": 1, "completion": 2}}) == sha256()
    others = [
        {"conditions": ["closed_book"]},
        {"metrics": ["token_f1"]},
        {"primary_conditions": ["retrieved"]},
        {"sampling": {"temperature": 0.5, "repeats": 2}},
        {"statistics": {"margins": {"token_f1": 0.1}}},
        {"judge": {"model": "small-base"}},
    ]
    assert len({sha256(), *(sha256(**change) for change in others)}) == len(others) + 1


async def test_yaml_makes_the_same_experiment_as_json(http: httpx.AsyncClient) -> None:
    written = yaml.safe_dump(specification(version=1)).encode()
    made = await http.post(URL, content=written, headers=YAML)
    assert made.status_code == 201, made.text
    other = await http.post(URL, json=specification())
    first, second = (Experiment.model_validate_json(r.content) for r in (made, other))
    assert first.spec == second.spec
    assert first.spec_sha256 == second.spec_sha256 == first.spec.sha256


@pytest.mark.parametrize(
    ("body", "hint"),
    [
        (b"name: [", "line 1"),
        (b"a: &x 1\nb: *x", "alias"),
        (b"a: 1\na: 2", "twice"),
        (b"!!python/object/apply:os.system ['true']", "constructor"),
        (b"\xff\xfe\xfa", None),
        (b"a: \x00", None),
        (b"[" * 5_000, None),
        (b"a" * 1_000_001, "1000000 bytes"),
        (b"? [1, 2]\n: 3", None),
        (b"a: !!bool maybe", "line 1 is no bool"),
        (b"a:\n  b: !!timestamp soon", "line 2 is no timestamp"),
        (b"a: !!int ''", "line 1 is no int"),
        (b"a: !!int '-'", None),
        (b"a: !!float ''", "line 1 is no float"),
    ],
)
def test_yaml_that_cannot_be_read_or_has_no_end_is_refused_with_its_place(
    body: bytes, hint: str | None
) -> None:
    with pytest.raises(InvalidRequest, match=hint) as caught:
        as_json(body)
    assert caught.value.code == "invalid_yaml"


@pytest.mark.parametrize(
    ("body", "code"),
    [(b"a: *x", "invalid_yaml"), (b"colour: teal", "missing_required_parameter"), (b"- 1", None)],
)
async def test_yaml_that_is_no_specification_is_a_400_as_json_would_be(
    http: httpx.AsyncClient, body: bytes, code: str | None
) -> None:
    refused = await http.post(URL, content=body, headers=YAML)
    assert refused.status_code == 400
    assert code in (None, refused.json()["error"]["code"])


@pytest.mark.parametrize(
    ("changes", "hint"),
    [
        ({"version": 2}, "1"),
        ({"sampling": {"repeats": 2}}, "temperature above 0"),
        ({"sampling": {"repeats": 2, "temperature": 1, "seeds": [1]}}, "one a repeat"),
        ({"sampling": {"repeats": 2, "temperature": 1, "seeds": [1, 1]}}, "once"),
        ({"conditions": ["oracle"], "primary_conditions": ["retrieved"]}, "retrieved"),
        ({"prices": {"nobody": {"prompt": 1, "completion": 1}}}, "nobody"),
        ({"prices": {"base": {"prompt": -1, "completion": 1}}}, "greater"),
        ({"budget": {"max_tokens": 0}}, "greater"),
        ({"statistics": {"margins": {"token_f1": 0}}}, "greater"),
    ],
)
async def test_what_contradicts_itself_is_refused(
    http: httpx.AsyncClient, changes: dict[str, Any], hint: str
) -> None:
    refused = await http.post(URL, json=specification(**changes))
    assert refused.status_code == 400
    assert hint in refused.json()["error"]["message"]


async def test_the_schema_names_all_that_may_be_asked(http: httpx.AsyncClient) -> None:
    schema = (await http.get(f"{URL}/schema")).json()
    assert set(schema["properties"]) == set(ExperimentCreate.model_fields)
    assert schema["additionalProperties"] is False


async def test_margins_of_single_metrics_and_the_conditions_of_the_family_are_kept_to(
    bench: Bench,
) -> None:
    bench.put(
        conditions=["closed_book", "retrieved"],
        primary_conditions=["retrieved"],
        statistics={"resamples": 2000, "permutations": 2000, "margins": {"contains_answer": 0.9}},
    )
    report = (await bench.run()).report
    assert report is not None
    found = {(c["arm"], c["condition"], c["metric"]): c for c in report["comparisons"]}
    assert found["qa", "retrieved", "contains_answer"]["verdict"] == "EQUIVALENT"
    assert found["qa", "retrieved", "contains_answer"]["primary"] is True
    assert found["qa", "closed_book", "contains_answer"]["primary"] is False
    assert found["qa", "retrieved", "token_f1"]["verdict"] == "HURTS"
    assert report["spec_sha256"] == sha256(
        **{
            "conditions": ["closed_book", "retrieved"],
            "primary_conditions": ["retrieved"],
            "statistics": {
                "resamples": 2000,
                "permutations": 2000,
                "margins": {"contains_answer": 0.9},
            },
        }
    )


def test_the_example_of_the_guide_is_a_specification() -> None:
    guide = Path("docs/guides/planning-an-experiment.md").read_text()
    example = guide.split("```yaml\n")[1].split("```")[0]
    spec = ExperimentCreate.model_validate_json(as_json(example.encode()))
    assert spec.sampling.repeats == 3
