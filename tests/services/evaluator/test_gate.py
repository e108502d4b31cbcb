"""Verdicts turned into yes or no: over HTTP after a run, and by rule on reports made for it."""

import hashlib
from collections.abc import Mapping
from typing import Any

import httpx
import pytest

from services.common.contracts.evaluator import Report, ReportArm
from services.common.contracts.gate import Gate, GateCreate, GateFloor, GatePolicy, GateReason
from services.common.contracts.generator import AdapterProof
from services.common.contracts.judge import JudgeAsk
from services.common.errors import InvalidRequest, Unavailable
from services.common.settings import ApiKey
from services.evaluator.gate import applied, arm_of, shut_by
from services.evaluator.report import build_report
from tests.services.evaluator.conftest import GOOD, Bench, serving
from tests.services.evaluator.test_api import URL, created, finished
from tests.services.evaluator.test_report import measured
from tests.services.evaluator.world import BASE, SHA

NONE_MISSING = {"base": 0.0, "qa": 0.0, "rag": 0.0}


@pytest.fixture(scope="module")
def report() -> Report:
    """Arm ``rag`` does as the base does, ``qa`` gets half of it."""
    return build_report(measured())


def arm(report: Report, name: str) -> ReportArm:
    return arm_of(report, GateCreate(arm=name))


def reasons(
    report: Report, name: str, policy: GatePolicy | None = None, **unscored: float
) -> list[GateReason]:
    asked = applied(policy or GatePolicy(), report)
    return shut_by(report, arm(report, name), asked, NONE_MISSING | unscored)


def proven(report: Report, sha256s: Mapping[str, str] | None = None, **changes: Any) -> Report:
    """With both adapters at work, as their proofs say."""
    arms = [
        one.model_copy(update={"adapter": one.model, "sha256": (sha256s or {}).get(one.model, SHA)})
        if one.name != "base"
        else one
        for one in report.arms
    ]
    proofs = [
        AdapterProof.model_validate(
            {
                "adapter": one.model,
                "replica": "r",
                "sha256": one.sha256 or SHA,
                "modules_in_file": 1,
                "modules_matched": 1,
                "max_abs_logprob_delta": 1.0,
                "peft_max_abs_diff": 0.001,
                "tolerance": 0.01,
                "checked_at": 0,
                **changes,
            }
        )
        for one in arms
    ]
    return report.model_copy(update={"arms": arms, "adapter_proofs": proofs})


def judged(report: Report, verdict: str, **where: str) -> Report:
    """The report, had ``rag`` got ``verdict`` where ``condition`` and ``metric`` say."""
    changed = [
        c.model_copy(update={"verdict": verdict, "n_needed": 345})
        if c.arm == "rag" and all(getattr(c, key) == value for key, value in where.items())
        else c
        for c in report.comparisons
    ]
    return report.model_copy(update={"comparisons": changed})


async def test_the_arm_that_holds_passes_and_the_one_that_hurts_does_not(
    http: httpx.AsyncClient, bench: Bench
) -> None:
    experiment = await finished(http, bench)
    good = await http.post(f"{URL}/{experiment}/gate", json={"arm": "rag"})
    assert good.status_code == 201, good.text
    gate = Gate.model_validate_json(good.content)
    assert gate.passed, gate.reasons
    assert (gate.object, gate.experiment_id, gate.reasons) == ("gate", experiment, [])
    assert (gate.model, gate.adapter_sha256, gate.baseline) == (GOOD, SHA, "base")
    assert gate.created_by == "local"
    required = [(one.condition, one.metric) for one in gate.policy.required or ()]
    assert required == [("retrieved", "contains_answer"), ("retrieved", "token_f1")]
    bad = Gate.model_validate_json(
        (await http.post(f"{URL}/{experiment}/gate", json={"arm": "qa"})).content
    )
    assert not bad.passed
    assert {reason.code for reason in bad.reasons} == {"hurts"}
    assert "HURTS retrieved contains_answer by 0.67" in bad.reasons[0].message


async def test_a_gate_is_kept_with_its_experiment(http: httpx.AsyncClient, bench: Bench) -> None:
    experiment = await finished(http, bench)
    made = [
        (await http.post(f"{URL}/{experiment}/gate", json={"arm": name})).json()
        for name in ("rag", "qa", "rag")
    ]
    shown = await http.get(f"{URL}/{experiment}/gates/{made[1]['id']}")
    assert shown.json() == made[1]
    listed = (await http.get(f"{URL}/{experiment}/gates", params={"limit": 2})).json()
    assert (listed["data"], listed["has_more"]) == ([made[2], made[1]], True)
    other = await http.get(f"{URL}/exp_other/gates/{made[0]['id']}")
    assert (other.status_code, other.json()["error"]["code"]) == (404, "gate_not_found")
    assert (await http.delete(f"{URL}/{experiment}")).status_code == 200
    gone = await http.get(f"{URL}/{experiment}/gates/{made[0]['id']}")
    assert (gone.status_code, gone.json()["error"]["code"]) == (404, "gate_not_found")


async def test_answers_that_never_came_keep_the_gate_shut_unless_the_policy_bears_them(
    http: httpx.AsyncClient, bench: Bench
) -> None:
    bench.world.refusal = lambda ask: (
        Unavailable("away") if ask.model == BASE and ask.question.endswith("part0x0?") else None
    )
    experiment = await finished(http, bench)
    strict = (await http.post(f"{URL}/{experiment}/gate", json={"arm": "rag"})).json()
    assert [reason["code"] for reason in strict["reasons"]] == ["unscored"]
    assert "2.78% of base's answers" in strict["reasons"][0]["message"]
    lenient = {"arm": "rag", "policy": {"max_unscored_share": 0.05}}
    assert (await http.post(f"{URL}/{experiment}/gate", json=lenient)).json()["passed"]


async def test_what_cannot_be_gated_is_refused_with_a_sentence(
    http: httpx.AsyncClient, bench: Bench
) -> None:
    waiting = (await created(http)).id
    early = await http.post(f"{URL}/{waiting}/gate", json={"arm": "rag"})
    assert (early.status_code, early.json()["error"]["code"]) == (409, "report_not_ready")
    none = await http.post(f"{URL}/exp_none/gate", json={})
    assert (none.status_code, none.json()["error"]["code"]) == (404, "experiment_not_found")
    experiment = await finished(http, bench, conditions=["retrieved"])
    for body, code, param in (
        ({}, "missing_required_parameter", "arm"),
        ({"arm": "base"}, "unknown_arm", "arm"),
        ({"arm": "none"}, "unknown_arm", "arm"),
        ({"arm": "rag", "policy": {"conditions": ["oracle"]}}, "not_declared", "policy"),
        ({"arm": "rag", "policy": {"metrics": ["rouge_l"]}}, "not_declared", "policy"),
        ({"arm": "rag", "policy": {"max_unscored_share": 2}}, "invalid_value", None),
        ({"arm": "rag", "policy": {"force": True}}, "unknown_parameter", None),
    ):
        refused = await http.post(f"{URL}/{experiment}/gate", json=body)
        assert refused.status_code == 400, body
        error = refused.json()["error"]
        assert error["code"] == code, body
        assert param in (None, error["param"])


async def test_the_operators_floor_holds_whatever_a_caller_asks_for(bench: Bench) -> None:
    strict = GateFloor(min_items=1_000, max_margin=0.01)
    settings = bench.settings.model_copy(update={"gate_floor": strict})
    lax = {"required": [], "conditions": ["closed_book"], "max_unscored_share": 1}
    async with serving(settings, bench.world) as http:
        experiment = await finished(http, bench)
        good = await http.post(f"{URL}/{experiment}/gate", json={"arm": "rag", "policy": lax})
        gate = Gate.model_validate_json(good.content)
        assert (gate.passed, gate.floor) == (False, strict)
        assert [reason.code for reason in gate.reasons] == ["below_floor", "below_floor"]
        assert "and 1000 must be" in gate.reasons[0].message
        bad = await http.post(f"{URL}/{experiment}/gate", json={"arm": "qa", "policy": lax})
        hurt = [r for r in Gate.model_validate_json(bad.content).reasons if r.code == "hurts"]
        assert {reason.condition for reason in hurt} >= {"retrieved"}


async def test_a_gate_needs_a_key_that_writes(bench: Bench) -> None:
    key = ApiKey(name="ci", sha256=hashlib.sha256(b"k").hexdigest(), scopes=frozenset({"read"}))
    guarded = bench.settings.model_copy(update={"mode": "production", "api_keys": (key,)})
    headers = {"Authorization": "Bearer k"}
    async with serving(guarded, bench.world, headers=headers) as http:
        assert (await http.post(f"{URL}/exp_1/gate", json={})).status_code == 403
        assert (await http.get(f"{URL}/exp_1/gates")).status_code == 404


def test_an_arm_that_does_as_the_base_does_passes(report: Report) -> None:
    assert reasons(proven(report), "rag") == []


def test_one_hurt_anywhere_in_the_family_is_enough(report: Report) -> None:
    hurt = judged(proven(report), "HURTS", condition="closed_book", metric="token_f1")
    (reason,) = reasons(hurt, "rag")
    assert (reason.code, reason.condition, reason.metric) == ("hurts", "closed_book", "token_f1")
    narrowed = GatePolicy(conditions=["retrieved", "oracle"])
    assert reasons(hurt, "rag", narrowed) == []


def test_conditions_outside_the_declared_family_cannot_be_asked_for() -> None:
    narrow = build_report(measured(primary_conditions=["closed_book"]))
    assert narrow.headline.startswith("qa is EQUIVALENT on closed_book")
    asked = applied(GatePolicy(), narrow)
    assert asked.conditions == ["closed_book"]
    assert {one.condition for one in asked.required or ()} == {"closed_book"}
    assert reasons(proven(narrow), "rag") == []
    for policy in (
        {"conditions": ["retrieved"], "required": []},
        {"required": [{"condition": "retrieved", "metric": "token_f1"}]},
    ):
        with pytest.raises(InvalidRequest, match=r"declared .* under closed_book\."):
            applied(GatePolicy.model_validate(policy), narrow)
    floor = {"conditions": ["retrieved"], "required": []}
    assert "under retrieved was not declared" in floored(proven(narrow), GatePolicy(), **floor)[0]


def test_metrics_outside_the_declared_family_do_not_decide(report: Report) -> None:
    assert reasons(judged(proven(report), "HURTS", metric="rouge_l"), "rag") == []


def test_what_is_required_must_have_been_decided(report: Report) -> None:
    unsure = judged(proven(report), "INCONCLUSIVE")
    found = reasons(unsure, "rag")
    assert {(reason.code, reason.condition) for reason in found} == {
        ("requirement_unmet", "retrieved")
    }
    assert found[0].message == (
        "rag is INCONCLUSIVE on retrieved contains_answer, and must be HELPS or EQUIVALENT; "
        "345 items would settle it."
    )
    assert reasons(unsure, "rag", GatePolicy(required=[])) == []
    must_help = GatePolicy.model_validate(
        {"required": [{"condition": "oracle", "metric": "token_f1", "verdicts": ["HELPS"]}]}
    )
    (reason,) = reasons(proven(report), "rag", must_help)
    assert (reason.code, reason.condition) == ("requirement_unmet", "oracle")
    assert reasons(judged(proven(report), "HELPS"), "rag", must_help) == []


def test_what_was_never_compared_does_not_pass(report: Report) -> None:
    without = proven(report).model_copy(update={"comparisons": []})
    assert {reason.code for reason in reasons(without, "rag")} == {"not_compared"}


@pytest.mark.parametrize(
    "changes",
    [
        {"sha256": "cd" * 32},
        {"adapter": "ft:other"},
        {"max_abs_logprob_delta": 0.0},
        {"peft_max_abs_diff": 0.02},
    ],
)
def test_an_adapter_without_a_sound_proof_does_not_pass(
    report: Report, changes: dict[str, Any]
) -> None:
    assert [r.code for r in reasons(proven(report, **changes), "rag")] == ["adapter_unproven"]


def test_an_adapter_that_one_replica_of_two_did_not_prove_does_not_pass(report: Report) -> None:
    sound, other = proven(report), proven(report, replica="r2", peft_max_abs_diff=0.02)
    both = [*other.adapter_proofs, *sound.adapter_proofs]
    mixed = sound.model_copy(update={"adapter_proofs": both})
    assert [reason.code for reason in reasons(mixed, "rag")] == ["adapter_unproven"]


def floored(report: Report, policy: GatePolicy, **floor: Any) -> list[str]:
    asked = applied(policy, report)
    found = shut_by(
        report, arm(report, "rag"), asked, NONE_MISSING, GateFloor.model_validate(floor)
    )
    return [reason.message for reason in found]


def test_the_floor_asks_for_what_the_policy_leaves_out(report: Report) -> None:
    lax = GatePolicy(required=[], conditions=["closed_book"])
    unsure = judged(proven(report), "INCONCLUSIVE", condition="retrieved")
    assert reasons(unsure, "rag", lax) == []
    assert len(floored(unsure, lax)) == 2  # both declared metrics, where the pipeline runs
    assert floored(unsure, lax, required=[]) == []
    assert floored(proven(report), lax) == []


def test_what_both_ask_for_is_said_once(report: Report) -> None:
    unsure = judged(proven(report), "INCONCLUSIVE", condition="retrieved")
    assert len(floored(unsure, GatePolicy())) == 2


@pytest.mark.parametrize(
    ("floor", "said"),
    [
        ({"max_alpha": 0.01}, "an alpha of 0.05 is larger than 0.01"),
        ({"max_margin": 0.01}, "a margin of 0.05 on token_f1 is wider than 0.01"),
        ({"min_items": 10_000}, "and 10000 must be"),
        ({"datasets": ["00" * 32]}, "none of those that count"),
        ({"baselines": ["ft:champion"]}, "is none of ft:champion"),
        ({"metrics": ["rouge_l"], "required": []}, "rouge_l under closed_book was not declared"),
    ],
)
def test_an_experiment_below_the_floor_opens_no_gate(
    report: Report, floor: dict[str, Any], said: str
) -> None:
    assert said in floored(proven(report), GatePolicy(), **floor)[0]


def test_a_judge_s_margin_is_held_to_the_floor_on_its_own_scale(report: Report) -> None:
    def said(margin: float, *metrics: str) -> list[str]:
        short = {"name": "tone", "criterion": "Is it kind?", "scale": [1, 3]}
        judge = JudgeAsk.model_validate({"model": "j", "margin": margin, "rubrics": [short]})
        spec = report.spec.model_copy(update={"judge": judge})
        asked = proven(report).model_copy(update={"spec": spec, "primary_metrics": metrics})
        return floored(asked, GatePolicy(required=[]), required=[], max_margin=0.05)

    assert said(0.25, "token_f1", "accuracy", "tone") == []
    (wide,) = said(4, "token_f1", "accuracy")
    assert wide == "The operator's floor: a margin of 4 on accuracy is wider than 0.25."
    assert "a margin of 2 on tone is wider than 0.125" in said(4, "tone")[0]
    assert said(4, "token_f1") == []  # its judge decides nothing


def test_the_only_arm_beside_the_baseline_need_not_be_named(report: Report) -> None:
    arms = [one for one in report.arms if one.name != "qa"]
    assert arm_of(report.model_copy(update={"arms": arms}), GateCreate()).name == "rag"
    with pytest.raises(InvalidRequest, match="qa, rag"):
        arm_of(report, GateCreate())
