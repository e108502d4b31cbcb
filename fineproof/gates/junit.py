"""A gate as JUnit XML: a test case for each comparison and each other thing that was asked."""

import re
from datetime import UTC, datetime
from xml.etree import ElementTree as ET

from fineproof.gates.deciding import Decided
from services.common.contracts.evaluator import Comparison
from services.common.contracts.gate import GateReason

# What XML 1.0 has no way to say, not even escaped.
_NO_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def render(decided: Decided) -> str:
    gate = decided.gate
    suite = ET.Element("testsuite", name=_text(f"{decided.report.name}: {gate.arm}"))
    suite.set("timestamp", f"{datetime.fromtimestamp(gate.created_at, UTC):%Y-%m-%dT%H:%M:%S}")
    properties = ET.SubElement(suite, "properties")
    for name, value in (
        ("experiment", gate.experiment_id),
        ("gate", gate.id),
        ("model", gate.model),
        ("baseline", gate.baseline),
        ("adapter_sha256", gate.adapter_sha256 or ""),
    ):
        ET.SubElement(properties, "property", name=name, value=_text(value))
    for comparison in decided.comparisons:
        reasons = decided.reasons(comparison)
        case = _case(suite, gate.arm, f"{comparison.condition} {comparison.metric}", reasons)
        ET.SubElement(case, "system-out").text = _text(summary(comparison))
    for code, name in (
        ("adapter_unproven", "adapter is proven"),
        ("unscored", "answers came"),
        ("below_floor", "operator's floor"),
    ):
        _case(suite, gate.arm, name, [one for one in gate.reasons if one.code == code])
    for reason in gate.reasons:
        if reason.code == "not_compared":
            _case(suite, gate.arm, f"{reason.condition} {reason.metric}", [reason])
    suite.set("tests", str(len(suite.findall("testcase"))))
    suite.set("failures", str(len(suite.findall("testcase/failure"))))
    suite.set("errors", "0")
    suites = ET.Element("testsuites", name="fineproof gate")
    suites.append(suite)
    ET.indent(suites)
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(suites, encoding="unicode") + "\n"
    )


def summary(comparison: Comparison) -> str:
    """One line of figures."""
    low, high = comparison.ci95
    return (
        f"{comparison.verdict}: {comparison.base:.3f} → {comparison.tuned:.3f}, "
        f"{comparison.diff:+.3f} [{low:+.3f}, {high:+.3f}], p = {comparison.p:.2g}, "
        f"{comparison.n} items in {comparison.clusters} clusters"
    )


def _case(suite: ET.Element, arm: str, name: str, reasons: list[GateReason]) -> ET.Element:
    case = ET.SubElement(suite, "testcase", classname=_text(f"fineproof.{arm}"), name=_text(name))
    if reasons:
        said = " ".join(reason.message for reason in reasons)
        failure = ET.SubElement(case, "failure", type=reasons[0].code, message=_text(said))
        failure.text = _text(said)
    return case


def _text(value: str) -> str:
    return _NO_XML.sub("\ufffd", value)
