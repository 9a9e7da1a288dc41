"""What can be asked of the evaluator; read without TensorFlow."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from foundation.errors import ConfigError
from robustness.config import Norm, ThreatModel
from robustness.suites import Stage, SuiteName, suite
from trainer.models.pixels import Pixels

if TYPE_CHECKING:  # what takes long to import would make --help slow
    from components.policy import GatesConfig, Purpose

DEFAULT_EPSILON = {Norm.LINF: 0.2, Norm.L2: 2.0}


@dataclass(frozen=True, kw_only=True)
class EvaluationTask:
    """What to evaluate, and where results go.

    model: file or folder.
    output: folder of all results.
    dataset: name of a tfds data set, or path of a folder of images.
    data_dir: see `components.datasets`; None for tfds's own folder.
    limit: number of images, the first ones of the split; None for all.
    attacks: those that take the place of the suite's own, such as `pgd` or `pgd:100x5`.
    epsilons: radii, one evaluation each; the norm's default where there is none.
    sources: other models, whose attacks are transferred.
    signature: `NAME`, `NAME:OUTPUT` or `:OUTPUT` of the model; '' leaves the choice to its rules.
    pixels: what the model takes for black and white.
    classes: names of the model's classes, in the order of its outputs; empty where the model names
        them itself, or has the data's order.
    batch: images that are attacked at once; None follows from what the model needs of memory.
    trust: whether code that lies in a model's file may run.
    resize: height and width to which the images of a folder are brought.
    gates: what the model is judged by; None where it is only measured.
    purpose: what the data and the threat must be, where somebody has reviewed that.
    deadline: time at which judging ends, in seconds since the epoch; None for none.

    Raises:
        ConfigError: a radius that is none, or an attack or a class that is named twice.
    """

    model: Path
    output: Path
    dataset: str = "mnist"
    data_dir: Path | None = None
    split: str = "test"
    limit: int | None = None
    suite: SuiteName = SuiteName.FAST
    attacks: tuple[str, ...] = ()
    norm: Norm = Norm.LINF
    epsilons: tuple[float, ...] = ()
    seed: int = 0
    sources: tuple[Path, ...] = ()
    checks: bool = True
    corruptions: bool = False
    signature: str = ""
    pixels: Pixels = Pixels.UNIT
    classes: tuple[str, ...] = ()
    batch: int | None = None
    trust: bool = False
    resize: tuple[int, int] | None = None
    gates: "GatesConfig | None" = None
    purpose: "Purpose | None" = None
    deadline: float | None = None

    def __post_init__(self) -> None:
        if len(set(self.classes)) < len(self.classes):
            raise ConfigError(f"each class is named once, got {', '.join(self.classes)}")
        _ = self.stages, self.threats  # which refuse what is wrong, before anything is loaded

    @property
    def stages(self) -> tuple[Stage, ...]:
        """Attacks and bounds, in the order in which they run."""
        return suite(self.suite, self.attacks)

    @property
    def threats(self) -> tuple[ThreatModel, ...]:
        """One threat model an evaluation, each radius once."""
        radii = dict.fromkeys(self.epsilons) or (DEFAULT_EPSILON[self.norm],)
        return tuple(ThreatModel(norm=self.norm, epsilon=epsilon) for epsilon in radii)
