"""`gauntlet check`: the gates on a model that exists."""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from foundation.errors import REFUSED, ConfigError
from foundation.whole import is_stream
from gauntlet.evaluation.task import EvaluationTask
from gauntlet.file_defaults import file_option
from gauntlet.loudness import Loudness, loudness
from gauntlet.model_options import model_options
from gauntlet.options import console_beside, is_given, json_option, request, voice_options
from gauntlet.parameters import EPSILON, INPUT_FILE, OUTPUT_FILE, SHARE, TIME, created

if TYPE_CHECKING:
    from rich.console import Console

    from gauntlet.check.report import CheckReport


@dataclass(frozen=True, kw_only=True)
class Outputs:
    """Where the report goes beside the terminal."""

    json_file: Path | None
    junit_file: Path | None
    sarif_file: Path | None
    github: bool

    def clear(self, inputs: Iterable[Path | None]) -> None:
        """Remove the files of an earlier check, which nobody shall take for this one's.

        inputs: what is read.

        Raises:
            ConfigError: a file is one of these, or two are one.
        """
        taken = {path.resolve() for path in inputs if path}
        given = (self.json_file, self.junit_file, self.sarif_file)
        files = [file for file in given if file and not is_stream(file)]
        for file in files:
            if file.resolve() in taken:
                raise ConfigError(f"{file} would be written over: name another file for the report")
            taken.add(file.resolve())
        for file in files:
            file.unlink(missing_ok=True)


@click.command
@model_options
@click.option(
    "--epsilon",
    type=EPSILON,
    metavar="E",
    help="Radius of the ball, pixels in [0, 1], such as 0.1 or 8/255. Required, except with "
    "--gates or in a file.",
)
@click.option(
    "--min-clean", type=SHARE, metavar="SHARE", help="Right on the clean images, at least."
)
@click.option(
    "--min-worst-case", type=SHARE, metavar="SHARE", help="Right under every attack, at least."
)
@click.option("--min-certified", type=SHARE, metavar="SHARE", help="Proven right, at least.")
@click.option(
    "--gates",
    "gates_file",
    type=INPUT_FILE,
    metavar="FILE",
    help="All gates, data, threat and attacks of a gates.toml, which `gauntlet gates --toml` "
    "writes, and every root has.",
)
@click.option(
    "--budget",
    type=TIME,
    metavar="TIME",
    help="Stop judging after this time, such as 10m: what was not judged does not pass, and the "
    "same command goes on from there.",
)
@click.option(
    "--junit", "junit_file", type=OUTPUT_FILE, help="Write a JUnit report here: a test case a gate."
)
@click.option("--sarif", "sarif_file", type=OUTPUT_FILE, help="Write SARIF 2.1.0 here.")
@click.option(
    "--github",
    is_flag=True,
    help="Also print annotations of GitHub Actions, and add a table to the summary of the step.",
)
@voice_options
@json_option("the report")
@file_option
@request(Outputs)
def check(
    outputs: Outputs,
    file_gates: Mapping[str, Any],
    epsilon: float | None,
    min_clean: float | None,
    min_worst_case: float | None,
    min_certified: float | None,
    gates_file: Path | None,
    budget: float | None,
    **options: object,
) -> int:
    """Judge MODEL as a pipeline judges its own, and end with 0 or 3.

    MODEL is whatever `gauntlet evaluate` takes. It must reach each minimum with the lower end of
    the exact 95 % interval, so that a lucky sample rarely passes, and show no sign that a number is
    fake (--no-checks leaves these out).

    \b
      gauntlet check model.keras --epsilon 0.1 --min-clean 0.95 --min-worst-case 0.6
      gauntlet check model.onnx --dataset ./pets --epsilon 8/255 --min-worst-case 0.4 --junit g.xml
      gauntlet check exported/ --gates gates.toml --budget 10m --github
    """
    from gauntlet.check.asked import Minimums, asked
    from trainer.models.formats import model_file

    begin = time.time()
    outputs.clear((options["model"], gates_file))  # type: ignore[arg-type]
    wanted = Minimums(
        min_clean=min_clean,
        min_worst_case=min_worst_case,
        min_certified=min_certified,
        gates_file=gates_file,
        file_gates=file_gates,
    )
    if epsilon is None and gates_file is None:
        raise ConfigError(
            "say against which change the model must hold: --epsilon, pixels in [0, 1], such as "
            "0.1, or 8/255 for 8 of 255 grey levels"
        )
    radii = {"epsilons": () if epsilon is None else (epsilon,)}
    task = asked(EvaluationTask(**options, **radii), wanted, _given())  # type: ignore[arg-type]
    task = replace(task, deadline=None if budget is None else begin + budget)
    model_file(task.model)  # before seconds pass and folders are made
    created(task.output, "output")
    console = console_beside(outputs.json_file)
    report = _judged(task, console)
    _write(report, outputs, time.time() - begin, console)
    return 0 if report.passed else REFUSED


def _given() -> frozenset[str]:
    """Names of the fields of the task that the command line has."""
    names = (str(parameter.name) for parameter in click.get_current_context().command.params)
    return frozenset("epsilons" if name == "epsilon" else name for name in names if is_given(name))


def _judged(task: EvaluationTask, console: "Console") -> "CheckReport":
    from gauntlet.check.report import CheckReport
    from gauntlet.commands.evaluate import evaluated
    from gauntlet.voice import say

    say(console, f"checking {task.model}")
    return CheckReport(evaluation=evaluated(task, console))


def _write(report: "CheckReport", outputs: Outputs, seconds: float, console: "Console") -> None:
    """The report, everywhere: files first, since a terminal may have gone."""
    from foundation.whole import write_text
    from gauntlet.check.github import annotations, write_summary
    from gauntlet.check.junit import junit
    from gauntlet.check.sarif import sarif
    from gauntlet.tables.check import print_check, print_in_short

    for file, text in (
        (outputs.json_file, report.to_json),
        (outputs.sarif_file, lambda: sarif(report)),
        (outputs.junit_file, lambda: junit(report, seconds)),
    ):
        if file:
            write_text(file, text())
    shown = write_summary(report) if outputs.github else True
    (print_in_short if loudness() is Loudness.QUIET else print_check)(report, console)
    if outputs.github:
        click.echo("\n".join(annotations(report)), err=console.stderr)
    if not shown:
        console.print("GITHUB_STEP_SUMMARY is not set: no summary of a step was written")
