import io

import pytest
from rich.console import Console

from fineproof.experiment.tables import show
from services.common.contracts.evaluator import Comparison, Report, Verdict
from services.common.contracts.findings import Remedy


def comparison(arm: str, verdict: Verdict, diff: float) -> Comparison:
    return Comparison(
        arm=arm,
        baseline="base",
        condition="retrieved",
        metric="contains_answer",
        base=0.5,
        tuned=0.5 + diff,
        diff=diff,
        ci95=(diff - 0.1, diff + 0.1),
        p=0.01,
        p_holm=0.02,
        n=60,
        clusters=20,
        verdict=verdict,
        primary=True,
    )


@pytest.mark.parametrize("width", [80, 140])
def test_nothing_is_cut_off_on_a_narrow_terminal(width: int) -> None:
    report = Report.model_construct(
        name="demo",
        headline="qa HURTS.",
        conditions=["retrieved"],
        comparisons=[
            comparison("tuned", "HURTS", -0.3),
            comparison("pairs-1000", "INCONCLUSIVE", 0.05),
        ],
        diff_in_diff=[],
        adapter_proofs=[],
        remedies=[
            Remedy(arm="tuned", action="recipe_rag", advice="Tune with recipe `rag`.", because="")
        ],
        warnings=["A [bracketed] warning."],
        counts=type("Counts", (), {"items": 60}),
        dataset=type("Dataset", (), {"clusters": 20}),
        spec=type("Spec", (), {"baseline": "base"}),
    )
    printed = io.StringIO()
    show(report, Console(file=printed, width=width))
    text = printed.getvalue()
    assert "…" not in text
    for words in ("contains_answer", "tuned", "pairs-1000", "INCONCLUSIVE"):
        assert words in text
    assert "-0.300 [-0.400, -0.200]" in text
    assert "A [bracketed] warning." in text
