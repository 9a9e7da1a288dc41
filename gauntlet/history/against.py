"""The images that speak against a run's model, gate by gate: what `gauntlet show --gate` shows."""

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from components.evaluator.explained import Explanation
from components.records.names import CLEAN, ROBUST, STRONGEST, Origin
from foundation.errors import ConfigError, RunError
from foundation.json import Document
from pipeline.report.against import Pairs, read_pairs
from pipeline.report.run_summary import RunSummary
from pipeline.root.root import IMAGES
from trainer.classes import shown


@dataclass(frozen=True, kw_only=True)
class Against:
    """One image.

    label: true class. prediction, attacked_prediction: classes that the model gives for the clean
        and for the attacked image; -1 is none.
    attack: whose image the attacked one is, and why, in words.
    """

    id: str
    label: int
    prediction: int
    attacked_prediction: int
    attack: str


@dataclass(frozen=True, kw_only=True)
class GateImages(Document, schema="gate/1"):
    """A gate of a run, and images that speak against the model there.

    picture: file with the images; None where none speaks against the model.
    images: those on the picture. The gate's own `ids` may be more.
    """

    run_id: str
    gate: Explanation
    picture: Path | None
    images: tuple[Against, ...]


def gate_of(summary: RunSummary, name: str) -> Explanation:
    """What became of a gate that has images to show, or could have.

    Raises:
        ConfigError: the run was not judged by it, or it is no question of images.
    """
    gates = {gate.name: gate for gate in summary.gates}
    if name not in gates:
        raise ConfigError(
            f"run {summary.run_id} was not judged by a gate {name}; its gates are "
            f"{', '.join(gates)}"
        )
    gate = gates[name]
    if gate.not_compared:
        raise ConfigError(f"the gate {name} has no images: not compared, {gate.not_compared}")
    if not gate.applies:
        raise ConfigError(f"the gate {name} has no images: it does not apply to this model")
    by_images = [each.name for each in gates.values() if each.images_against is not None]
    if gate.images_against is None and by_images:
        raise ConfigError(
            f"the gate {name} is no question of single images: {gate.sentence} Those that are: "
            f"{', '.join(by_images)}"
        )
    return gate


def pairs_against(folder: Path, gate: Explanation) -> Pairs:
    """The images that a run has kept of a gate.

    Raises:
        RunError: it has kept none. DataError: the file is damaged.
    """
    file = folder / IMAGES
    if not file.exists():
        raise RunError(
            f"there is no {file}: an earlier version made the run, `gauntlet clean` has removed "
            "the file, or it could not be written; run the same command again for one that has it"
        )
    pairs = read_pairs(file, gate.name)
    if not pairs:
        raise RunError(f"{file} has no image of the gate {gate.name}: there was no room for one")
    return pairs


def told(pairs: Pairs) -> tuple[Against, ...]:
    """The images in words and numbers."""
    columns = (pairs.id, pairs.label, pairs.prediction, pairs.attacked_prediction)
    rows = zip(*(column.tolist() for column in columns), reasons(pairs), strict=True)
    return tuple(
        Against(id=i, label=label, prediction=said, attacked_prediction=fooled, attack=reason)
        for i, label, said, fooled, reason in rows
    )


def reasons(pairs: Pairs) -> Iterator[str]:
    """How each image speaks against the model."""
    own = str(Origin(STRONGEST, ROBUST))
    fooled = (pairs.attacked_prediction != pairs.label).tolist()
    columns = (pairs.attack.tolist(), pairs.broken_by.tolist(), pairs.certified_by.tolist())
    for attack, broken_by, certified_by, is_fooled in zip(*columns, fooled, strict=True):
        if attack == CLEAN:
            yield "wrong without an attack"
        elif is_fooled:
            yield broken_by if attack == own and broken_by else attack
        else:
            yield "not broken by this image" if certified_by else "neither broken nor proven"


def place_of_picture(folder: Path, gate: str) -> Path:
    """Where the picture goes where nobody says it: among the results of the run, or where these
    cannot be written, in the current folder."""
    name = f"gate-{gate}.png"
    try:
        with tempfile.TemporaryFile(dir=folder):
            return folder / name
    except OSError:
        return Path.cwd() / name


def class_text(label: int, names: Sequence[str]) -> str:
    """A class with its name."""
    return shown(label, names) if label >= 0 else "no number"
