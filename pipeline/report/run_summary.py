"""What a run came to: the content of `summary.json`. Read without TensorFlow and TFX."""

import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Annotated, Any

import pydantic

from components.changes import Signature
from components.evaluator.explained import Explanation
from foundation.json import Document
from robustness.config import Check, ThreatModel
from trainer.models.judged import Judged

log = logging.getLogger("gauntlet.report")


def _number(value: object) -> object:
    return math.nan if value is None else value


Number = Annotated[float, pydantic.BeforeValidator(_number)]
"""A figure that need not be finite, for which JSON has null."""


@dataclass(frozen=True, kw_only=True)
class Accuracies:
    """Shares of the images that one model gets right.

    transfer: on images made against another model: by attack, and with `@champion` where they were
        made against the champion.
    white_box: what each attack of the suite leaves, in their order, and `fgsm` alone.
    worst_case: right on the clean image and on all of these.
    certified: proven, and right on all of these; None where no bound applies.
    certified_by: what is proven once that bound has run too, in their order.
    """

    clean: float
    transfer: dict[str, float]
    white_box: dict[str, float]
    worst_case: float
    certified: float | None
    certified_by: dict[str, float]


@dataclass(frozen=True, kw_only=True)
class Training:
    """How a model was trained: the metrics of each epoch, and the number of the exported one."""

    epochs: list[dict[str, Number]]
    best_epoch: int


@dataclass(frozen=True, kw_only=True)
class NodeRun:
    """What became of a node of the pipeline: its time, and whether it came from the cache."""

    seconds: float
    cached: bool


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One training of a search, measured on the validation split.

    trial: its name. values: by setting. score: by which the search ordered the trials.
    certified: None where no bound applies.
    chosen: whether its settings were taken.
    front: no other trial is at least as good in clean, adversarial and certified accuracy, and
        better in one.
    """

    trial: str
    values: dict[str, Number]
    score: Number
    clean: float
    adversarial: float
    certified: float | None
    chosen: bool
    front: bool


@dataclass(frozen=True, kw_only=True)
class Tuning:
    """All trials of a search, the best first, and the clean accuracy that was asked for."""

    clean_floor: float
    trials: list[Trial]


@dataclass(frozen=True, kw_only=True)
class RunSummary(Document, schema="run/1"):
    """A run: what was asked for, what was found, and what became of the model.

    class_names: of the robust model's classes, in label order; empty where its export has none.
    fingerprint: SHA-256 in hex of the prepared data, of all its splits. None where an earlier
        version wrote the file.
    test_fingerprint: SHA-256 in hex of the prepared examples of the splits that the test images are
        from. None where an earlier version wrote the file, or they could not be read.
    judged: the robust model as it was attacked. None where an earlier version wrote the file.
    attacks: by name, how hard each tried.
    examples: number of images by split.
    models, training: by model.
    blessed: whether the gates' blessing is in force; withdrawn: who withdrew it, None where it is
        in force or was never given; forced: who gave it by hand, with which no run pushes.
    pushed: folder of the pushed version; None where nothing was pushed.
    nodes: by node, in the order of execution.
    tuning: None where nothing was searched; it is left out of the file then.
    """

    run_id: str
    preset: str
    dataset: str
    fingerprint: str | None = None
    test_fingerprint: str | None = None
    class_names: list[str] = field(default_factory=list)
    judged: Judged | None = None
    seed: int
    threat: ThreatModel
    suite: str
    attacks: dict[str, dict[str, int | float]]
    examples: dict[str, int]
    models: dict[str, Accuracies]
    training: dict[str, Training]
    checks: list[Check]
    gates: list[Explanation]
    serving_problems: list[str]
    blessed: bool
    withdrawn: Signature | None = None
    forced: Signature | None = None
    pushed: str | None
    nodes: dict[str, NodeRun]
    tuning: Tuning | None = None
    caveats: list[str]
    seconds: float

    def plain(self) -> dict[str, Any]:
        """The content of `summary.json` without its schema."""
        content = super().plain()
        if self.tuning is None:
            del content["tuning"]
        return content

    @classmethod
    def from_json(cls, text: str | bytes) -> "RunSummary":
        """Inverse of `to_json`, also of what earlier versions wrote.

        Raises:
            ValueError: it is no summary.
        """
        return pydantic.TypeAdapter(cls).validate_json(text)

    @property
    def version(self) -> str | None:
        """Number of the pushed version."""
        return PurePath(self.pushed).name if self.pushed else None


@dataclass(kw_only=True)
class Outcome(Document, schema="outcome/1"):
    """What became of a run whose nodes have all ended: the push has happened or not, whatever fails
    after it.

    pushed: folder of the version that the run serves; None where nothing was pushed.
    summary: None where it could not be made.
    problems: what failed after the push, a sentence each.
    """

    pushed: str | None
    summary: RunSummary | None = None
    problems: list[str] = field(default_factory=list)

    @contextmanager
    def noting(self, what: str) -> Iterator[None]:
        """An error while the context is open is a problem of this outcome. what: subject of its
        sentence."""
        try:
            yield
        except (Exception, SystemExit) as error:  # SystemExit: rich ends so on a broken pipe
            log.exception("%s failed after the push", what)
            self.problems.append(f"{what} failed: {error or type(error).__name__}")
