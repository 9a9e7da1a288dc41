"""`gauntlet run`: the whole pipeline, on this machine."""

import contextlib
import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from foundation.errors import REFUSED, ConfigError, GauntletError, ProcessDied, RunError
from gauntlet.loudness import Loudness, complain, loudness
from gauntlet.options import (
    DEFAULT_ROOT,
    console_beside,
    json_option,
    settings_options,
    voice_options,
)
from gauntlet.parameters import PLAIN_FOLDER, Choices, created
from gauntlet.terms import gates_option, mandate_options
from pipeline.local.orchestrator import Orchestrator

if TYPE_CHECKING:
    from gauntlet.voice import Voice
    from pipeline.local.job import Job

GOES_ON = (
    "Run the same command again: finished nodes are not repeated, and a training goes on from its "
    "last whole epoch"
)


@click.command
@settings_options
@gates_option
@click.option(
    "--root",
    "folder",
    type=PLAIN_FOLDER,
    default=DEFAULT_ROOT,
    show_default=True,
    help="Folder of metadata, artifacts, results and pushed models. Runs on one root share TFX's "
    "cache.",
)
@click.option(
    "--data-dir",
    type=PLAIN_FOLDER,
    help="A prepared tfds folder, or a folder with the four archives. Default: tfds's own, filled "
    "on first use.",
)
@click.option(
    "--tune",
    "trials",
    type=click.IntRange(min=1),
    metavar="N",
    help="First search the recipe's hyper-parameters with N short trainings on the validation "
    "split (tuner.trials).",
)
@click.option(
    "--span",
    type=click.IntRange(min=1),
    metavar="N",
    help="Of a folder of spans (span-1, span-2, ...) given as data.dataset take this one. Default: "
    "the newest.",
)
@click.option(
    "--accept-classes",
    is_flag=True,
    help="In a root that no push has bound yet: the classes may be others than those of the last "
    "span and of the served model, with which the new one is then not compared "
    "(data.accept_classes). In a bound one they are another purpose: --replace.",
)
@click.option(
    "--orchestrator",
    type=Choices(Orchestrator),
    default=Orchestrator.LOCAL.value,
    show_default=True,
    help="Who runs the nodes: one after another in one process, or as a Beam pipeline.",
)
@click.option(
    "--dry-run",
    is_flag=True,
    help="Say what would be computed and why, what comes from the cache, the time and disk that it "
    "takes and which champion it meets. Nothing is computed, pushed or written into the root.",
)
@click.option(
    "--anyway",
    is_flag=True,
    help="Also run what no model can pass: gates that contradict other settings, or too few test "
    "images for a gate.",
)
@mandate_options
@voice_options
@json_option("summary.json")
def run(
    preset: str | None,
    config_file: Path | None,
    assignments: tuple[str, ...],
    gates_file: Path | None,
    folder: Path,
    data_dir: Path | None,
    trials: int | None,
    span: int | None,
    accept_classes: bool,
    orchestrator: Orchestrator,
    dry_run: bool,
    anyway: bool,
    replace: bool,
    force: bool,
    reason: str,
    json_file: Path | None,
) -> int:
    """Run the whole pipeline: ingest, validate, train, attack, evaluate, push or refuse.

    \b
      gauntlet run --preset smoke --root demo      a first look, a minute or two
      gauntlet run --dry-run                       what a run would do, and why

    The first push binds the root to what its models are for and must reach (`gauntlet gates --root
    ROOT`); a later run that differs from that, or asks for less, stops before anything is computed.

    What fails after the push is a warning.
    """
    from foundation.whole import write_text
    from gauntlet.configuration import configured
    from gauntlet.supervisor import call
    from gauntlet.tables.run import print_summary, print_verdict, warning
    from gauntlet.terms import agreed, mandate_of, with_gates
    from gauntlet.voice import note, say
    from pipeline.definition.gates import out_of_reach
    from pipeline.local.job import Job, pushed_before
    from pipeline.root.root import Root

    if trials is not None:
        assignments = (*assignments, f"tuner.trials={trials}")
    if span is not None:
        assignments = (*assignments, f"data.span={span}")
    if accept_classes:
        assignments = (*assignments, "data.accept_classes=true")
    mandate = mandate_of(replace, force, reason)
    console = console_beside(json_file)
    config = configured(preset, assignments, config_file, console)
    config = with_gates(config, gates_file, assignments, config_file)
    impossible = out_of_reach(config)
    if impossible and not anyway:
        raise ConfigError(never_pushed(impossible))
    # By one name, whichever links lead there.
    root = Root((folder if dry_run else created(folder, "root")).resolve())
    config, notes = agreed(root, config, mandate)
    job = Job(
        config=config,
        root=root,
        run_id=datetime.datetime.now(datetime.UTC).strftime("%Y%m%d-%H%M%S-%f"),
        data_dir=data_dir,
        orchestrator=orchestrator,
        mandate=mandate,
        anyway=anyway,
    )
    refused = [f"whatever is trained will be refused: {why}" for why in impossible]
    for text in (*notes, *refused):
        note(console, text)
    heading = f"preset {config.preset}, data set {config.data.dataset}, root {job.root}"
    say(console, heading if dry_run else f"run {job.run_id}, {heading}")
    if dry_run:
        return told(job, json_file, console)
    job.root.share()
    results = job.root.results(job.run_id)
    results.mkdir(parents=True)
    try:
        outcome = call("pipeline.local.job:run_job", job, job.root.run_log(job.run_id), console)
    except (GauntletError, KeyboardInterrupt) as error:
        if not (outcome := pushed_before(job, error)):
            if isinstance(error, ProcessDied):
                raise ProcessDied(f"{error}. {GOES_ON}") from error
            raise
    try:
        if summary := outcome.summary:
            with outcome.noting("the table"):
                shown = print_verdict if loudness() is Loudness.QUIET else print_summary
                shown(summary, results, console)
        if json_file:
            with outcome.noting(f"--json {json_file}"):
                write_text(json_file, (summary or outcome).to_json())
    except KeyboardInterrupt as stop:
        outcome.problems.append(str(stop) or "interrupted")
    if outcome.problems:
        with contextlib.suppress(OSError):  # the terminal has gone
            complain(warning(outcome), level="warning")
    return 0 if outcome.pushed else REFUSED


def never_pushed(reasons: list[str]) -> str:
    """That a run is not worth its time, and what to do."""
    found = "\n".join(f"- {reason}" for reason in reasons)
    return (
        f"whatever is trained would be refused:\n{found}\nChange one of these settings, or run it "
        "all the same, for the numbers: --anyway"
    )


def told(job: "Job", json_file: Path | None, console: "Voice") -> int:
    """Show what a run would do; returns the exit code.

    Raises:
        RunError: it would fail for want of disk.
    """
    from foundation.whole import write_text
    from gauntlet.supervisor import call
    from gauntlet.tables.plan import print_plan
    from gauntlet.work import temporary_log

    with temporary_log() as log:
        plan = call("pipeline.local.plan:planned", job, log, console)
    if json_file:
        write_text(json_file, plan.to_json())
    print_plan(plan, console)
    if plan.stops:
        raise RunError(plan.stops)
    return 0
