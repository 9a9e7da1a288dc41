"""The runs of a root, the newest first, as their folders of results tell."""

import datetime
import difflib
import json
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from components.records.names import ROBUST
from components.versions import PushedBy, list_versions
from foundation.errors import ConfigError, DataError, RunError
from foundation.json import Document
from gauntlet.tables.run import refusal
from pipeline.report.run_summary import RunSummary
from pipeline.root.cleaning import size_of
from pipeline.root.keeping import run_folders, written_at
from pipeline.root.root import CONFIG, SUMMARY, Root

RUN_ID = "%Y%m%d-%H%M%S-%f"
"""How a run is named: by the time at which it began, in UTC."""

LATEST, PREVIOUS = "latest", "previous"

SHOWN = 5
"""Runs that a message names."""


class State(StrEnum):
    """What became of a run."""

    PUSHED = "pushed"
    REFUSED = "refused"
    GOING_ON = "going on"
    ENDED = "failed or interrupted"
    DAMAGED = "damaged"


@dataclass(frozen=True, kw_only=True)
class PastRun:
    """One run.

    began: time in UTC. 0.1.0 took that of its machine for the name of a run, and so for this.
    state: what became of it, and outcome: the same in words, with the version that was pushed or
        what refused the model.
    version: number of the pushed version; None where nothing was pushed.
    preset, dataset, norm, epsilon: what was asked for; None where nobody has noted it.
    clean, worst_case, certified: of the robust model; None where there is no summary, and certified
        also where no bound applies.
    seconds: from the data to the summary; None without one.
    bytes: of its results on the disk. Artifacts are shared by runs, and not counted.
    """

    run_id: str
    began: str
    state: State
    outcome: str
    version: str | None = None
    preset: str | None = None
    dataset: str | None = None
    norm: str | None = None
    epsilon: float | None = None
    clean: float | None = None
    worst_case: float | None = None
    certified: float | None = None
    seconds: float | None = None
    bytes: int


@dataclass(frozen=True, kw_only=True)
class Runs(Document, schema="runs/1"):
    """The runs of a root, the newest first. root: its folder. total: how many there are."""

    root: Path
    runs: tuple[PastRun, ...]
    total: int


def list_runs(root: Root, limit: int | None = None) -> Runs:
    """The newest runs. What is damaged is listed as such, beside the others.

    limit: how many; None for all.
    """
    folders = newest_first(root)
    pushed = {
        version.card.run_id: version.version
        for version in reversed(list_versions(str(root.serving)))
        if version.card.kind in (PushedBy.RUN, PushedBy.REPLACED)
    }
    busy = going_on(root, folders)
    runs = [_past_run(each, pushed.get(each.name), each == busy) for each in folders[:limit]]
    return Runs(root=root.folder, runs=tuple(runs), total=len(folders))


def newest_first(root: Root) -> list[Path]:
    """The folders of results of all runs."""
    return sorted(run_folders(root), key=lambda folder: (_began(folder), folder.name), reverse=True)


def going_on(root: Root, folders: list[Path]) -> Path | None:
    """The folder of the run that holds the root's lock, where one does: it has noted its
    configuration since, as no command does that holds the lock for something else."""
    if (since := root.held_since) is None:
        return None
    for folder in folders:
        config = folder / CONFIG
        if config.exists() and written_at(config) >= since and not (folder / SUMMARY).exists():
            return folder
    return None


def chosen(root: Root, name: str) -> str:
    """The run of that name, of which a beginning will do where only one begins so; `latest` is the
    newest one, `previous` the one before.

    Raises:
        ConfigError: there is none, or several begin so; with what there is.
    """
    names = [folder.name for folder in newest_first(root)]
    found = [each for each in names if each.startswith(name)]
    if name in (LATEST, PREVIOUS):
        found = names[:1] if name == LATEST else names[1:2]
    if len(found) == 1 or name in found:
        return name if name in found else found[0]
    if not names:
        raise ConfigError(f"there is no run in {root} yet; `gauntlet run --root {root}` makes one")
    known = found or names
    more = f" and {len(known) - SHOWN:,} more" if len(known) > SHOWN else ""
    meant = "".join(difflib.get_close_matches(name, (LATEST, PREVIOUS), n=1, cutoff=0.75))
    meant = "" if meant == name else meant
    hint = f": did you mean {meant}?" if meant else ";"
    problem = f"{root} has no run {name}{hint}"
    if found:
        problem = f"several runs in {root} begin with {name};"
    raise ConfigError(
        f"{problem} there are {', '.join(known[:SHOWN])}{more} (`gauntlet runs --root {root}`)"
    )


def read_run(root: Root, run_id: str) -> RunSummary:
    """The summary of a run.

    Raises:
        RunError: it has none, with why and with the newest run that has one. DataError: it is
            damaged.
    """
    folder = root.results(run_id)
    if (folder / SUMMARY).exists():
        return _summary(folder)
    folders = newest_first(root)
    state = State.GOING_ON if going_on(root, folders) == folder else State.ENDED
    whole = next((each.name for each in folders if (each / SUMMARY).exists()), None)
    other = f"; the newest run that has one is {whole}" if whole else ""
    raise RunError(f"run {run_id} has no {SUMMARY} ({state}); its files are in {folder}{other}")


def settings_of(folder: Path) -> dict[str, Any]:
    """The configuration of a run, section by section; an empty one where nobody can read it."""
    try:
        settings = json.loads((folder / CONFIG).read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return settings if isinstance(settings, dict) else {}


def _summary(folder: Path) -> RunSummary:
    file = folder / SUMMARY
    try:
        summary = RunSummary.from_json(file.read_bytes())
        if ROBUST not in summary.models or "test" not in summary.examples:
            raise ValueError("it has no figures of the robust model")
        return summary
    except (OSError, ValueError, RecursionError, ConfigError) as error:
        reason = str(error).partition("\n")[0]
        raise DataError(f"{file} is damaged: {reason}") from error


def _began(folder: Path) -> datetime.datetime:
    """By its name, or where somebody has named it otherwise, by its files."""
    try:
        return datetime.datetime.strptime(folder.name, RUN_ID).replace(tzinfo=datetime.UTC)
    except ValueError:
        return written_at(folder)


def _past_run(folder: Path, version: str | None, is_going_on: bool) -> PastRun:
    known: dict[str, Any] = {
        "run_id": folder.name,
        "began": _began(folder).isoformat(timespec="seconds"),
        "bytes": size_of(folder),
    }
    if not (folder / SUMMARY).exists():
        return PastRun(**known, **_without_summary(folder, version, is_going_on))
    try:
        return PastRun(**known, **_with_summary(_summary(folder)))
    except DataError as error:
        return PastRun(**known, state=State.DAMAGED, outcome=str(error), version=version)


def _with_summary(summary: RunSummary) -> dict[str, Any]:
    robust = summary.models[ROBUST]
    return {
        "state": State.PUSHED if summary.pushed else State.REFUSED,
        "outcome": outcome_of(summary),
        "version": summary.version,
        "preset": summary.preset,
        "dataset": summary.dataset,
        "norm": str(summary.threat.norm),
        "epsilon": summary.threat.epsilon,
        "clean": robust.clean,
        "worst_case": robust.worst_case,
        "certified": robust.certified,
        "seconds": summary.seconds,
    }


def _without_summary(folder: Path, version: str | None, is_going_on: bool) -> dict[str, Any]:
    settings = settings_of(folder)
    sections = (settings.get(name) for name in ("data", "threat"))
    data, threat = (each if isinstance(each, dict) else {} for each in sections)
    state = State.GOING_ON if is_going_on else State.ENDED
    outcome = f"{state}; no {SUMMARY}"
    if version:
        state, outcome = State.PUSHED, f"pushed as version {version}; no {SUMMARY}"
    return {
        "state": state,
        "outcome": outcome,
        "version": version,
        "preset": settings.get("preset"),
        "dataset": data.get("dataset"),
        "norm": threat.get("norm"),
        "epsilon": threat.get("epsilon"),
    }


def outcome_of(summary: RunSummary) -> str:
    """What became of the model, in words."""
    if summary.pushed:
        return f"pushed as version {summary.version}"
    return f"refused{refusal(summary)}"
