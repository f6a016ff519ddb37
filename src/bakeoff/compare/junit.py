"""A comparison as JUnit XML: a CI server shows each gate and each example as a test.

It is red exactly when the exit code is 1 (a failure) or 2 (an error: nothing was compared). An example that
turned within noise is reported, and fails nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree import ElementTree as ET

from bakeoff.compare import refusal
from bakeoff.compare.changes import Change
from bakeoff.compare.comparison import RunComparison
from bakeoff.errors import InputError
from bakeoff.text import escape


def render(data: RunComparison) -> str:
    """One suite for the gates, one for each compared candidate."""
    root = ET.Element("testsuites", name="bakeoff compare")
    _gates(root, data)
    for change in data.changes:
        _examples(root, change)
    return _text(root)


def render_refusal(error: InputError, base: str, head: str) -> str:
    """One suite with one test, which is an error; `base` and `head` as the user named them."""
    said = refusal.sentence(error)
    root, case = _single([("base", base), ("head", head), ("result", said)], "comparable")
    found = ET.SubElement(case, "error", message=_clean(said), type="refused")
    lines = [*refusal.reasons(error), *([error.hint] if error.hint else [])]
    found.text = "\n".join(map(_clean, lines))
    return _text(root)


def render_first(head: str, result: str, *, conclusive: bool) -> str:
    """One suite with one test, for a run that has no baseline yet: passed where it became the baseline."""
    root, case = _single([("head", head), ("result", result)], "baseline")
    if conclusive:
        ET.SubElement(case, "system-out").text = _clean(result)
    else:
        ET.SubElement(case, "skipped", message=_clean(result))
    return _text(root)


def _single(facts: Sequence[tuple[str, str]], name: str) -> tuple[ET.Element, ET.Element]:
    root = ET.Element("testsuites", name="bakeoff compare")
    suite = _suite(root, facts)
    return root, ET.SubElement(suite, "testcase", classname="gates", name=name)


def _suite(root: ET.Element, facts: Sequence[tuple[str, str]]) -> ET.Element:
    suite = ET.SubElement(root, "testsuite", name="gates")
    properties = ET.SubElement(suite, "properties")
    for name, value in facts:
        ET.SubElement(properties, "property", name=name, value=_clean(value))
    return suite


def _text(root: ET.Element) -> str:
    for suite in root:
        for outcome in ("failure", "error", "skipped"):
            plural = outcome if outcome == "skipped" else f"{outcome}s"
            suite.set(plural, str(len(suite.findall(f"testcase/{outcome}"))))
        suite.set("tests", str(len(suite.findall("testcase"))))
    ET.indent(root)
    text: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return text.decode() + "\n"


def _gates(root: ET.Element, data: RunComparison) -> None:
    facts = [
        ("base", data.base.manifest.run_id),
        ("head", data.head.manifest.run_id),
        ("result", data.sentence),
        *(("drift allowed", each) for each in data.drift),
    ]
    suite = _suite(root, facts)
    if data.doubts:
        case = ET.SubElement(suite, "testcase", classname="gates", name="conclusive")
        ET.SubElement(case, "skipped", message=_clean(f"inconclusive: {'; '.join(data.doubts)}"))
    for gate in data.gates:
        case = ET.SubElement(
            suite, "testcase", classname=_clean(f"gates.{gate.candidate}"), name=_clean(gate.gate)
        )
        match gate.status:
            case "failed":
                ET.SubElement(case, "failure", message=_clean(gate.because))
            case "unknown":
                ET.SubElement(case, "skipped", message=_clean(gate.because))
            case "passed":
                ET.SubElement(case, "system-out").text = _clean(gate.because)


def _examples(root: ET.Element, change: Change) -> None:
    name = _clean(change.name)
    suite = ET.SubElement(root, "testsuite", name=name)
    for example in change.examples:
        case = ET.SubElement(suite, "testcase", classname=name, name=_clean(example.example_id))
        counts = [f"{passed} of {judged}" for passed, judged in (example.base, example.head)]
        said = f"passed {counts[0]} trials in BASE, {counts[1]} in HEAD"
        if example.turn != "same":
            said = f"{example.turn}: {said}; cause in HEAD: {example.head_cause or 'none'}"
        if example.head[1]:
            ET.SubElement(case, "system-out").text = _clean(said)
        else:
            ET.SubElement(case, "skipped", message=_clean(f"every trial in HEAD was an infra error: {said}"))


def _clean(text: str) -> str:
    """One line without what a terminal would obey, which has all that XML cannot hold (XML 1.0, section 2.2)."""
    return escape.line(text, 4000)
