"""Two runs of a root beside each other: what was set otherwise, what came of it, and which gates
say otherwise."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.evaluator.explained import Explanation
from components.records.table import Found, read_examples
from foundation.errors import DataError
from foundation.json import Document
from gauntlet.history.figures import Compared, Measured, compared
from gauntlet.history.runs import outcome_of, read_run, settings_of
from pipeline.report.run_summary import RunSummary
from pipeline.root.root import CONFIG, EXAMPLES, Root
from robustness.config import shown_epsilon

NO_CONFIG = "nobody can read " + CONFIG


@dataclass(frozen=True, kw_only=True)
class Setting:
    """A setting that differs. a, b: its values; null also where a run knows no such setting."""

    name: str
    a: Any
    b: Any


@dataclass(frozen=True, kw_only=True)
class Flipped:
    """A gate of which the runs say otherwise. a, b: its word, such as `passed`, or `not asked`
    where the run was not judged by it. sentences: what each run says of it."""

    name: str
    a: str
    b: str
    sentences: tuple[str, str]


@dataclass(frozen=True, kw_only=True)
class Comparison(Document, schema="compare/1"):
    """Two runs.

    a, b: their names. settings: those that differ. images: how many test images each has, and how
        many both have; the last is null where a run does not say which it has.
    not_comparable: why the figures cannot be held against each other; empty where they can.
    notes: what is not known, or beside the settings.
    figures: of the robust models. flipped: gates of which the runs say otherwise. outcomes: what
        became of each model.
    """

    a: str
    b: str
    settings: tuple[Setting, ...]
    images: tuple[int, int, int | None]
    not_comparable: tuple[str, ...]
    notes: tuple[str, ...]
    figures: tuple[Compared, ...]
    flipped: tuple[Flipped, ...]
    outcomes: tuple[str, str]


def compare(root: Root, a: str, b: str) -> Comparison:
    """Compare two runs, by their names.

    Raises:
        RunError: one of them came to no summary. DataError: that is damaged.
    """
    folders = (root.results(a), root.results(b))
    summaries = (read_run(root, a), read_run(root, b))
    settings = [settings_of(folder) for folder in folders]
    read = [_examples(folder) for folder in folders]
    notes = [note for _, note in read if note]
    notes += [
        f"{NO_CONFIG} of run {n}" for n, known in zip((a, b), settings, strict=True) if not known
    ]
    notes += other_training_files(*summaries)
    ours, theirs = (
        Measured(summary=summary, found=found)
        for summary, (found, _) in zip(summaries, read, strict=True)
    )
    doubts = (*differences(ours, theirs), *other_pixels(*settings))
    doubts = doubts or tuple(other_files(*summaries))
    unknown = f"a run has no {EXAMPLES}"
    both: int | None = None
    if ours.found and theirs.found:
        both, unknown = len(ours.found.keys() & theirs.found.keys()), unnoted_files(*summaries)
    return Comparison(
        a=a,
        b=b,
        settings=tuple(changed(*settings)) if all(settings) else (),
        images=(ours.images, theirs.images, both),
        not_comparable=doubts,
        notes=tuple(notes),
        figures=tuple(compared(ours, theirs, "; ".join(doubts) or unknown)),
        flipped=tuple(flipped(*summaries)),
        outcomes=(outcome_of(summaries[0]), outcome_of(summaries[1])),
    )


def differences(ours: Measured, theirs: Measured) -> Iterator[str]:
    """Why the figures of two runs are not about the same question."""
    one, other = ours.summary, theirs.summary
    if one.dataset != other.dataset:
        yield f"the data sets are {one.dataset} and {other.dataset}"
    if one.threat != other.threat:
        balls = [
            f"{each.threat.norm} {shown_epsilon(each.threat.epsilon)}" for each in (one, other)
        ]
        yield f"the threats are {balls[0]} and {balls[1]}"
    if not (ours.found and theirs.found):
        if ours.images != theirs.images:
            yield f"there are {ours.images:,} and {theirs.images:,} test images"
        return
    both = ours.found.keys() & theirs.found.keys()
    if len(both) < max(len(ours.found), len(theirs.found)):
        yield (
            f"the test images are not the same: {len(ours.found):,} and {len(theirs.found):,}, of "
            f"which {len(both):,} are in both"
        )
    if others := sum(ours.found[each].label != theirs.found[each].label for each in both):
        yield f"{others:,} images of the same name have other labels"


def other_pixels(one: dict[str, Any], other: dict[str, Any]) -> Iterator[str]:
    """Why images of the same names are other images."""
    ours, theirs = dict(flat(one)), dict(flat(other))
    for name in ("data.image_shape", "data.resize", "data.span"):
        if ours and theirs and ours.get(name) != theirs.get(name):
            yield f"{name} is {ours.get(name)} and {theirs.get(name)}"


def other_files(one: RunSummary, other: RunSummary) -> Iterator[str]:
    """Why images of the same names may be other images: they were prepared from other files."""
    ours, theirs = one.test_fingerprint, other.test_fingerprint
    if ours and theirs and ours != theirs:
        yield (
            f"the files of the test images are not the same (fingerprints {ours[:12]} and "
            f"{theirs[:12]}), so images of the same name may be others"
        )


def other_training_files(one: RunSummary, other: RunSummary) -> Iterator[str]:
    """That the models learned from other files, although the test images are the same."""
    same = one.test_fingerprint and one.test_fingerprint == other.test_fingerprint
    if same and one.fingerprint != other.fingerprint:
        yield "the files of the data are not the same, except those of the test images"


def unnoted_files(*runs: RunSummary) -> str:
    """Why nobody knows whether images of the same names are the same images; '' where that is
    known."""
    names = " and ".join(each.run_id for each in runs if not each.test_fingerprint)
    if not names:
        return ""
    return (
        "whether the images of the same name are the same is not known, because no fingerprint of "
        f"the test images was noted of {names}, as by earlier versions"
    )


def changed(one: dict[str, Any], other: dict[str, Any]) -> Iterator[Setting]:
    """The settings that differ, by their whole names."""
    ours, theirs = dict(flat(one)), dict(flat(other))
    for name in dict.fromkeys([*ours, *theirs]):
        if (name in ours, ours.get(name)) != (name in theirs, theirs.get(name)):
            yield Setting(name=name, a=ours.get(name), b=theirs.get(name))


def flat(settings: dict[str, Any], section: str = "") -> Iterator[tuple[str, Any]]:
    """Settings by their whole names, such as `trainer.epochs`."""
    for name, value in settings.items():
        if isinstance(value, dict):
            yield from flat(value, f"{section}{name}.")
        else:
            yield f"{section}{name}", value


def flipped(one: RunSummary, other: RunSummary) -> Iterator[Flipped]:
    """The gates of which the runs say otherwise."""
    ours, theirs = ({gate.name: gate for gate in each.gates} for each in (one, other))
    for name in dict.fromkeys([*ours, *theirs]):
        pair = (ours.get(name), theirs.get(name))
        a, b = map(said, pair)
        if a != b:
            first, second = (gate.sentence if gate else "" for gate in pair)
            yield Flipped(name=name, a=a, b=b, sentences=(first, second))


def said(gate: Explanation | None) -> str:
    """What a gate says in a word."""
    return str(gate.word) if gate else "not asked"


def _examples(folder: Path) -> tuple[dict[str, Found], str]:
    """What a run found of each image, by id, and why that is not known."""
    try:
        found = read_examples(folder / EXAMPLES)
    except DataError as error:
        return {}, str(error)
    except OSError:
        return {}, (
            f"run {folder.name} has no {EXAMPLES} (an earlier version made it, or it could not be "
            "written), so nothing can be held against it image by image"
        )
    return {each.id: each for each in found}, ""
