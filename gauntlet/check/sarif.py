"""A check as SARIF 2.1.0, which code scanning reads: a rule and a result for each gate.

https://docs.oasis-open.org/sarif/sarif/v2.1.0/
"""

import os
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import quote

from components.evaluator.explained import Explanation, Word
from foundation.json import dumps
from gauntlet.check.report import CheckReport

KINDS = {
    Word.PASSED: "pass",
    Word.REFUSED: "fail",
    Word.REPORTED: "informational",
    Word.NOT_COMPARED: "notApplicable",
    Word.NOT_APPLICABLE: "notApplicable",
}
"""What gates say, as SARIF calls it."""


def sarif(report: CheckReport) -> str:
    """The log of a check."""
    place = _location(report)
    gates = report.gates
    driver = {
        "name": "Gauntlet",
        "version": version("gauntlet-tfx"),
        "rules": [_rule(gate) for gate in gates],
    }
    run = {
        "tool": {"driver": driver},
        "invocations": [
            {
                "executionSuccessful": not report.result.undone,
                "toolExecutionNotifications": [
                    {"level": level, "message": {"text": sentence}}
                    for level, sentences in (
                        ("error", report.result.undone),
                        ("warning", report.evaluation.notes),
                    )
                    for sentence in sentences
                ],
            }
        ],
        "results": [_result(number, gate, place) for number, gate in enumerate(gates)],
        "properties": {"passed": report.passed, "finding": report.finding},
    }
    return dumps(
        {
            "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
            "version": "2.1.0",
            "runs": [run],
        }
    )


def _rule(gate: Explanation) -> dict[str, Any]:
    text = f"{gate.name} {gate.op} {gate.bound:g}"
    return {"id": gate.name, "shortDescription": {"text": text}}


def _result(number: int, gate: Explanation, place: dict[str, Any]) -> dict[str, Any]:
    return {
        "ruleId": gate.name,
        "ruleIndex": number,
        "kind": KINDS[gate.word],
        "level": "error" if gate.refuses else "none",
        "message": {"text": gate.sentence},
        "locations": [place],
    }


def _location(report: CheckReport) -> dict[str, Any]:
    """The model, by a path from here where it lies below; code scanning wants one."""
    path = Path(os.path.abspath(report.evaluation.model))
    here = Path.cwd()
    uri = quote(str(path.relative_to(here))) if path.is_relative_to(here) else path.as_uri()
    return {"physicalLocation": {"artifactLocation": {"uri": uri}}}
