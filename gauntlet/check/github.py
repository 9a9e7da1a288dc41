"""A check in the words of GitHub Actions: an annotation a refusing gate, and a summary of the step.

https://docs.github.com/actions/reference/workflow-commands-for-github-actions
"""

import os
from collections.abc import Iterator
from pathlib import Path

from components.evaluator.explained import Explanation
from foundation.errors import RunError
from gauntlet.check.report import CheckReport

SUMMARY = "GITHUB_STEP_SUMMARY"
"""Variable with the file that GitHub shows as the summary of a step."""


def annotations(report: CheckReport) -> Iterator[str]:
    """A line for each gate that refuses, for what was left undone, for what a reader must know of
    the model, and one for the verdict."""
    for gate in report.refusing:
        yield command("error", gate.name, gate.sentence)
    for sentence in report.result.undone:
        yield command("error", "not finished", sentence)
    for note in report.evaluation.notes:
        yield command("warning", "note on the model", note)
    kind = "notice" if report.passed else "error"
    yield command(kind, "gauntlet check", f"{report.verdict} {report.finding}")


def command(kind: str, title: str, message: str) -> str:
    """A workflow command. kind: error, warning or notice."""
    title = _escaped(title).replace(":", "%3A").replace(",", "%2C")
    return f"::{kind} title={title}::{_escaped(message)}"


def _escaped(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def markdown(report: CheckReport) -> str:
    """The table of the gates."""
    evaluation = report.evaluation
    lines = [
        f"### {'✅' if report.passed else '❌'} {_cell(evaluation.model.name)}: "
        f"{_cell(report.verdict)}",
        "",
        _cell(report.finding),
        "",
        *(f"**{_cell(sentence)}**\n" for sentence in report.result.undone),
        "| gate | | what was found |",
        "|---|---|---|",
        *(f"| {gate.name} | {_word(gate)} | {_cell(gate.sentence)} |" for gate in report.gates),
        "",
        *(f"- Note: {_cell(note)}" for note in evaluation.notes),
    ]
    return "\n".join(lines) + "\n"


def _word(gate: Explanation) -> str:
    return f"**{gate.word}**" if gate.refuses else str(gate.word)


def _cell(text: str) -> str:
    """Text that is no markup."""
    flat = " ".join(text.split()).replace("\\", "\\\\")
    for mark in "|<>*_`[]":
        flat = flat.replace(mark, f"\\{mark}")
    return flat


def write_summary(report: CheckReport) -> bool:
    """Add the table to the summary of the step; False where GitHub shows none, because this is no
    step of it.

    Raises:
        RunError: the file cannot be written.
    """
    if not (name := os.environ.get(SUMMARY)):
        return False
    try:
        with Path(name).open("a", encoding="utf-8") as file:
            file.write(markdown(report))
    except OSError as error:
        raise RunError(f"the summary {name} ({SUMMARY}) cannot be written: {error}") from error
    return True
