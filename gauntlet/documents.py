"""What `--json` writes where the result of a command has another form: as tables and callers need
it, or as many things that are no document by themselves."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from typing_extensions import TypedDict  # which pydantic takes in place of Python 3.11's

from components.datasets.prepared import PreparedDataset
from components.versions import Card
from foundation.json import Document

if TYPE_CHECKING:
    from components.evaluator.gate import Gate
    from components.versions import Version
    from pipeline.production.answers import Answers
    from pipeline.root.cleaning import Cleaned


@dataclass(frozen=True, kw_only=True)
class AskedGate:
    """A gate before anything is judged. quantity: what it measures. op: on which side of the bound
    a value must lie. argument: names that the quantity is about, such as attacks."""

    name: str
    quantity: str
    bound: float
    op: str
    argument: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Gates(Document, schema="gates/1"):
    """What a model must reach to be pushed: `gauntlet gates`."""

    gates: tuple[AskedGate, ...]

    @classmethod
    def of(cls, gates: "list[Gate]") -> "Gates":
        return cls(gates=tuple(AskedGate(**gate.plain()) for gate in gates))


@dataclass(frozen=True, kw_only=True)
class SettingValue:
    """A setting and its value. name: section and key. default: where no preset says otherwise.
    preset: value in the preset that it began with. unused_with: the setting with which it does
    nothing; null where it does something. values: what it may be, in words. told: nodes of the
    pipeline that are told it."""

    name: str
    value: Any
    default: Any
    preset: Any
    unused_with: str | None
    meaning: str
    values: str
    told: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Settings(Document, schema="config/1"):
    """All settings of a configuration: `gauntlet config`. preset: name of the one that the user
    chose."""

    preset: str
    settings: tuple[SettingValue, ...]


@dataclass(frozen=True, kw_only=True)
class ListedVersion(Card):
    """A pushed version: its card, of which what does not apply is left out. serving: whether it is
    the one that is served. problem: what is wrong with it; left out where nothing is."""

    version: str
    serving: bool
    problem: str | None = None

    def plain(self) -> dict[str, Any]:
        content = super().plain()
        return {name: content.pop(name) for name in ("version", "serving")} | content


@dataclass(frozen=True, kw_only=True)
class Models(Document, schema="models/1"):
    """The pushed versions, the oldest first: `gauntlet models`."""

    versions: tuple[ListedVersion, ...]

    @classmethod
    def of(cls, versions: "list[Version]") -> "Models":
        return cls(
            versions=tuple(
                ListedVersion(
                    version=each.version,
                    serving=each.serving,
                    problem=each.problem or None,
                    **vars(each.card),
                )
                for each in versions
            )
        )

    def plain(self) -> dict[str, Any]:
        return {"versions": [version.plain() for version in self.versions]}


Prediction = TypedDict(
    "Prediction", {"image": Path, "class": int, "label": str | None, "probability": float}
)
"""What the served version says of an image: a class, its name, the probability of it."""


@dataclass(frozen=True, kw_only=True)
class Predictions(Document, schema="predict/1"):
    """What the served version says of images, in their order: `gauntlet predict`. Of each image its
    class, the name of that as `label` (null where the export has none), and the probability that
    the model gives to it."""

    version: str
    answers: tuple[Prediction, ...]

    @classmethod
    def of(cls, found: "Answers") -> "Predictions":
        answers = zip(found.images, found.answers, strict=True)
        return cls(
            version=found.version,
            answers=tuple(
                {"image": i, "class": a.label, "label": a.name, "probability": a.probability}
                for i, a in answers
            ),
        )


@dataclass(frozen=True, kw_only=True)
class Removed:
    """A file or folder. what: its kind, in the plural. bytes: on the disk."""

    what: str
    path: Path
    bytes: int


@dataclass(frozen=True, kw_only=True)
class Cleaning(Document, schema="clean/1"):
    """What was removed, unless it was a dry run: `gauntlet clean`.

    kept_runs: those that are kept with all that they used and made.
    bytes: of all that was removed. artifacts_marked_deleted: how many are no longer in TFX's cache.
    unknown: files and folders that are none of ours, and stay.
    """

    dry_run: bool
    kept_runs: tuple[str, ...]
    removed: tuple[Removed, ...]
    bytes: int
    artifacts_marked_deleted: int
    unknown: tuple[Path, ...]

    @classmethod
    def of(cls, cleaned: "Cleaned") -> "Cleaning":
        removed = (
            Removed(what=each.what, path=each.path, bytes=each.size) for each in cleaned.removed
        )
        return cls(
            dry_run=cleaned.dry_run,
            kept_runs=cleaned.runs,
            removed=tuple(removed),
            bytes=cleaned.size,
            artifacts_marked_deleted=cleaned.marked,
            unknown=cleaned.unknown,
        )


@dataclass(frozen=True, kw_only=True)
class Prepared(Document, schema="prepare/1"):
    """A data set on this machine: `gauntlet prepare`. settings: those with which a run takes it, by
    their names, as `--set` takes them."""

    prepared: PreparedDataset
    settings: dict[str, str]
