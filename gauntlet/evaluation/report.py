"""What comes of an evaluation; read without TensorFlow."""

from dataclasses import dataclass
from pathlib import Path

from components.evaluator.explained import Explanation
from foundation.json import Document
from foundation.sandbox import Confinement
from gauntlet.evaluation.chance import Chance
from robustness.config import Check, Norm
from trainer.models.judged import Judged


@dataclass(frozen=True, kw_only=True)
class Result:
    """All images that were judged at one epsilon; accuracies are fractions of them.

    examples: how many they are; where none is, clean and worst_case are None.
    attacks: what is left once an attack has run too. efforts: how hard each tried.
    certified: proven by all bounds; None where none applies.
    certified_by: what is proven once a bound has run too.
    not_certified: why no bound applies.
    seconds_by: time of each attack and bound.
    checks: honesty checks; none where they were not asked for.
    examples_file: table with a row an image.
    gates: what the gates say; none where the model was only measured.
    undone: what the time did not suffice for, a sentence each.
    """

    norm: Norm
    epsilon: float
    examples: int
    seed: int
    clean: float | None
    worst_case: float | None
    attacks: dict[str, float]
    efforts: dict[str, dict[str, float]]
    certified: float | None
    certified_by: dict[str, float]
    not_certified: str | None
    seconds_by: dict[str, float]
    checks: tuple[Check, ...]
    seconds: float
    examples_file: Path
    gates: tuple[Explanation, ...] = ()
    undone: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Report(Document, schema="evaluate/1"):
    """A model on a split of a data set.

    judged: the model as it was asked. sample: its accuracy on the first clean images, beside
        chance.
    fingerprint: SHA-256 of the model's files in hex.
    trust: whether code that lies in the model's file was allowed to run.
    sandbox: what the process that asked the model was confined to; None for nothing.
    suite: name of the suite, or `named attacks`.
    notes: what a reader must know of the model.
    results: one entry an epsilon.
    corruptions: accuracy on each family of corruptions; None where they were not asked for.
    folder: place of all files.
    """

    model: Path
    judged: Judged
    sample: Chance
    fingerprint: str
    trust: bool
    sandbox: Confinement | None
    dataset: str
    split: str
    suite: str
    notes: tuple[str, ...]
    results: tuple[Result, ...]
    corruptions: dict[str, float] | None
    folder: Path
