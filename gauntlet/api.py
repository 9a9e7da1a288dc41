"""Attack, certify and gate a model from Python: arrays in, a report out.

    import gauntlet.api as g

    report = g.evaluate(model, x, y, epsilon=0.1)
    report.worst_case, report.certified     # the true robust accuracy lies between the two
    report.check(worst_case=0.6)            # raises where the model does not reach it

The judge, the intervals and the sentences are those of `gauntlet check`. The model is asked in this
process, whose own it is: nothing is scanned or confined.
"""

import contextlib
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from components.evaluator.explained import Explanation
from components.evaluator.finding import confidence_interval
from components.policy import OPEN, GatesConfig
from foundation.errors import ConfigError, DataError
from gauntlet.check.asked import checks_beside
from gauntlet.evaluation.judgement import judged_by, tally_of
from gauntlet.evaluation.subject import chance_of, doubts_about
from gauntlet.evaluation.verdicts import joined
from gauntlet.tables.sentence import in_words
from robustness import suites
from robustness.attacks.attacker import Attacker
from robustness.checks import SAMPLE, Subject, run_checks
from robustness.config import Check, Norm, ThreatModel
from robustness.evaluation import Judge, Verdict, summarise
from robustness.types import Images, Labels
from trainer.models.choice import Wanted
from trainer.models.judged import Judged
from trainer.models.load import ImageModel, load_model, model_in_memory
from trainer.models.pixels import Pixels

__all__ = ["Explanation", "GatesRefused", "Report", "evaluate"]

E = TypeVar("E", bound=StrEnum)

Serve = Callable[[Images], Labels] | None
"""How a model is served: images to classes; None where it is not."""

log = logging.getLogger("gauntlet.evaluation")

BATCH = 500
"""Images that are judged at once; it changes memory, not results."""


class GatesRefused(AssertionError):
    """A model does not reach what was asked for. gates: those that refuse it."""

    def __init__(self, gates: Sequence[Explanation]) -> None:
        self.gates = tuple(gates)
        super().__init__("\n".join(f"{gate.name}: {gate.sentence}" for gate in gates))


@dataclass(frozen=True, kw_only=True)
class Report:
    """A model on some images.

    threat: norm and epsilon.
    clean, worst_case, certified: shares of the images that are right without an attack, under every
        attack, and proven right; nothing is proven where no bound applies.
    not_certified: why none does; '' where one does.
    attacks: what is left once an attack has run too. efforts: how hard each tried.
    certified_by: what is proven once a bound has run too.
    checks: honesty checks; none where they were not asked for.
    notes: what may be wrong with how the model was asked.
    judged: the model as it was asked.
    verdict: on each image, in the order of the images: `label`, `prediction`, `broken_by`,
        `certified_by`, and `x_adv`, the misclassified image where there is one.
    """

    threat: ThreatModel
    clean: float
    worst_case: float
    certified: float
    not_certified: str
    attacks: dict[str, float]
    efforts: dict[str, dict[str, float]]
    certified_by: dict[str, float]
    checks: tuple[Check, ...]
    notes: tuple[str, ...]
    judged: Judged
    verdict: Verdict

    @property
    def images(self) -> int:
        """How many were judged."""
        return len(self.verdict.label)

    @property
    def intervals(self) -> dict[str, tuple[float, float]]:
        """Exact 95 % intervals of the three shares by their names (Clopper & Pearson 1934)."""
        shares = {name: getattr(self, name) for name in ("clean", "worst_case", "certified")}
        return {
            name: confidence_interval(round(share * self.images), self.images)
            for name, share in shares.items()
        }

    def gates(
        self, *, clean: float = 0.0, worst_case: float = 0.0, certified: float = 0.0
    ) -> tuple[Explanation, ...]:
        """What the gates say: the lower end of each interval must reach its minimum, and no honesty
        check may fail of those that `evaluate` was to run; whether attacks have converged is asked
        where there is a minimum of the worst case.

        Raises:
            ConfigError: a minimum outside [0, 1].
        """
        shares = {"clean": clean, "worst_case": worst_case, "certified": certified}
        config = GatesConfig(**{**vars(OPEN), **shares})
        config = replace(config, checks=checks_beside(config) if self.checks else ())
        verdict = self.verdict
        stages = (*self.attacks, *self.certified_by)
        tally = tally_of(_ids(self.images), verdict.label, verdict, stages, self.checks)
        return judged_by(config, self.judged.class_names, tally)

    def check(
        self, *, clean: float = 0.0, worst_case: float = 0.0, certified: float = 0.0
    ) -> tuple[Explanation, ...]:
        """The same, where the model passes.

        Raises:
            GatesRefused: it does not; the message has a sentence for each gate that refuses it.
            ConfigError: no minimum, or one outside [0, 1].
        """
        if not (clean or worst_case or certified):
            raise ConfigError(
                "say what the model must reach: check(clean=..., worst_case=..., certified=...), "
                "shares of the images, such as 0.9; gates() says what was found without a minimum"
            )
        gates = self.gates(clean=clean, worst_case=worst_case, certified=certified)
        if refusing := [gate for gate in gates if gate.refuses]:
            raise GatesRefused(refusing)
        return gates

    def __str__(self) -> str:
        certified = None if self.not_certified else self.certified
        return in_words(
            self.images, self.clean, self.worst_case, certified, self.threat, self.not_certified
        )


def evaluate(
    model: Any,
    x: npt.ArrayLike,
    y: npt.ArrayLike,
    *,
    epsilon: float,
    norm: Norm | str = Norm.LINF,
    suite: suites.SuiteName | str = suites.SuiteName.FAST,
    attacks: Sequence[str] = (),
    seed: int = 0,
    checks: bool = True,
    pixels: Pixels | str = Pixels.UNIT,
    class_names: Sequence[str] = (),
    batch: int | None = None,
) -> Report:
    """Attack and certify a model.

    Args:
        model: of Keras 2 or 3, a function of TensorFlow from images to logits, or the path of a
            file that `gauntlet evaluate` takes.
        x: images [n, height, width, channels], float in [0, 1], or uint8 from 0 to 255.
        y: true labels [n], whole numbers: outputs of the model.
        epsilon: radius of the ball, pixels in [0, 1].
        norm: `linf` or `l2`.
        suite: `fast`, minutes, or `autoattack`, the published standard suite.
        attacks: those in place of the suite's own, such as `pgd` or `pgd:100x5`.
        seed: of the attacks. What is random about an attack on an image follows from it and from
            the place of the image, while a command takes the image's id: they differ a little.
        checks: whether to look for signs that a number is fake, on the first 500 images.
        pixels: what the model takes for black and white; epsilon stays in [0, 1].
        class_names: in the order of the outputs, for what the report says.
        batch: images that are attacked at once; None follows from what the model needs of memory.

    Raises:
        ConfigError: an epsilon, norm, suite or attack that is none, or one text for all attacks.
        DataError: images, labels or model cannot be used; the message says what was expected.
    """
    images, labels = _arrays(x, y)
    if isinstance(attacks, str):
        raise ConfigError(f"attacks is a list of them, such as ('pgd',), got {attacks!r}")
    threat = ThreatModel(norm=_member(Norm, norm), epsilon=epsilon)
    stages = suites.suite(_member(suites.SuiteName, suite), tuple(attacks))
    ends = _member(Pixels, pixels)
    height, width, channels = images.shape[1:]
    wanted = Wanted(image_shape=(height, width, channels), sample=images[:SAMPLE], pixels=ends)
    asked, serve = _model(model, wanted)
    judge = Judge(asked, threat, stages, asked.image_shape, batch=batch)
    judge.attacker.check(images, labels)
    with _graphs_of_many_attacks():
        verdict = _verdict(judge, images, labels, seed)
        told = _checks(judge, images, labels, seed, serve) if checks else ()
        notes = (*asked.judged.doubts, *_doubts(judge.attacker, images, labels, ends))
    summary = summarise(verdict, judge)
    return Report(
        threat=threat,
        clean=summary.clean,
        worst_case=summary.worst_case,
        certified=summary.certified or 0.0,
        not_certified=summary.not_certified or "",
        attacks=summary.attacks,
        efforts=summary.efforts,
        certified_by=summary.certified_by,
        checks=told,
        notes=notes,
        judged=_named(asked.judged, tuple(class_names)),
        verdict=verdict,
    )


@contextlib.contextmanager
def _graphs_of_many_attacks() -> Iterator[None]:
    """Each attack at each epsilon has a graph of its own, which TensorFlow warns of."""

    def told(record: logging.LogRecord) -> bool:
        return "triggered tf.function retracing" not in record.getMessage()

    logger = tf.get_logger()
    logger.addFilter(told)
    try:
        yield
    finally:
        logger.removeFilter(told)


def _member(kind: type[E], value: E | str) -> E:
    """The member of an enum by its value; raises ConfigError that lists them."""
    if value not in set(kind):
        raise ConfigError(f"expected one of {', '.join(kind)}, got {value!r}")
    return kind(value)


def _arrays(x: npt.ArrayLike, y: npt.ArrayLike) -> tuple[Images, Labels]:
    """Images and labels as attacks take them, where nothing has to be guessed for that."""
    images, labels = np.asarray(x), np.asarray(y)
    if not len(images.shape) or not len(images):
        raise DataError("expected images [n, height, width, channels], got none")
    if images.ndim != 4:
        grey = "; of grey images x[..., None] has that shape" if images.ndim == 3 else ""
        raise DataError(
            f"expected images [n, height, width, channels], got {list(images.shape)}{grey}"
        )
    if images.dtype == np.uint8:
        images = images / np.float32(255)
    elif not np.issubdtype(images.dtype, np.floating):
        raise DataError(f"expected float pixels in [0, 1], or uint8, got {images.dtype}")
    if not np.issubdtype(labels.dtype, np.integer):
        raise DataError(
            f"expected labels as whole numbers [n], got {labels.dtype} {list(labels.shape)}; of "
            "one-hot rows numpy.argmax(y, axis=1)"
        )
    if labels.shape != images.shape[:1]:
        raise DataError(f"expected {len(images)} labels, one an image, got {list(labels.shape)}")
    return images.astype(np.float32, copy=False), labels.astype(np.int64)


def _model(model: Any, wanted: Wanted) -> tuple[ImageModel, Serve]:
    """Of this process, or from its file; and how that is served."""
    if isinstance(model, str | os.PathLike):
        loaded = load_model(Path(model), wanted)
        return loaded.model, loaded.serve
    return model_in_memory(model, wanted), None


def _named(judged: Judged, names: tuple[str, ...]) -> Judged:
    """Raises ConfigError where there are more or fewer names than classes."""
    if names and len(names) != judged.classes:
        raise ConfigError(f"the model gives {judged.classes} classes, {len(names)} are named")
    return replace(judged, class_names=names) if names else judged


def _verdict(judge: Judge, x: Images, y: Labels, seed: int) -> Verdict:
    """The verdict on all images, batch by batch."""
    verdicts = []
    for begin in range(0, len(x), BATCH):
        part = slice(begin, begin + BATCH)
        verdicts.append(judge.judge(x[part], y[part], _ids(len(x))[part], seed))
        log.info("%s of %s images judged", f"{min(begin + BATCH, len(x)):,}", f"{len(x):,}")
    images = np.concatenate([verdict.x_adv for verdict in verdicts])
    return replace(joined(verdicts), x_adv=images)


def _ids(images: int) -> list[bytes]:
    """Names of the images, which decide what is random about the attacks: their places."""
    return [b"%d" % place for place in range(images)]


def _checks(judge: Judge, x: Images, y: Labels, seed: int, serve: Serve) -> tuple[Check, ...]:
    sample = slice(0, SAMPLE)
    subject = Subject(
        attacker=judge.attacker,
        x=x[sample],
        y=y[sample],
        ids=_ids(len(x))[sample],
        seed=seed,
        serve=serve,
        certifier=judge.certifier,
    )
    return tuple(run_checks(subject))


def _doubts(attacker: Attacker, x: Images, y: Labels, pixels: Pixels) -> Iterator[str]:
    """What the first images say against how the model is asked."""
    sample, labels = x[:SAMPLE], y[:SAMPLE]
    chance = chance_of(attacker.predict, sample, labels)
    return doubts_about(attacker, sample, labels, chance, pixels)
