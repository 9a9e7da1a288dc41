"""Honesty checks: signs that a robust accuracy comes from a weak attack.

Sources of the signs: Athalye et al. 2018 (obfuscated gradients), Carlini et al. 2019 (on evaluating
adversarial robustness), the flags of AutoAttack. A check looks at a sample of images; it can tell
that a number is fake, not that it is true. `run_checks` runs them all on a `Subject`.

What a check counts are images, judged by `robustness.tolerance`. On too few of them, or where the
model is right on none, a check that found nothing has not passed: it could not tell
(`Measured.passed` is None).

A check is one function here, with the name of its member of `CheckName`, which says what it means.
Twelve of them stand one below the other: hence the length of the file.
"""

import itertools
import logging
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from foundation.events import Fields
from foundation.seeds import Seeds, image_seeds
from robustness.attacks.attacker import Attacker
from robustness.bounds.certifier import Certifier, proven
from robustness.config import (
    ApgdCe,
    ApgdT,
    Attack,
    BoundName,
    Check,
    CheckName,
    Fgsm,
    Norm,
    Pgd,
    PgdMargin,
    Square,
    ThreatModel,
)
from robustness.tolerance import (
    CHANCE_SLACK,
    CONVERGED,
    FAKE,
    SURE,
    TOLERANCE,
    ZERO_GRADIENTS,
    allowed,
    enough,
    escapes,
    shown,
)
from robustness.types import BoolArray, Flags, Images, IntArray, Labels, Model

log = logging.getLogger("gauntlet.checks")

SQUARE_QUERIES = 500

SAMPLE = 500
"""Images of the split, the first ones, that a caller gives to the checks."""

WHITE_BOX = (PgdMargin(steps=100), ApgdCe(steps=100), ApgdT(steps=100, targets=4))
"""After PGD-100: what black-box and transferred attacks must not surpass."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What a check measured. passed: None where it could not tell. sentence: what `value` was
    compared with, and what it means."""

    passed: bool | None
    value: float
    sentence: str


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What is checked, and on which images.

    attacker: model and ball.
    x, y, ids: the sample.
    seed: seed of the attacks and of the noise.
    serve: function from images to the classes that the served signature gives; None where nothing
        is served.
    sources: other models, whose attacks are transferred.
    certifier: bounds of the model; None where they do not apply.
    """

    attacker: Attacker
    x: Images
    y: Labels
    ids: list[bytes]
    seed: int = 0
    serve: Callable[[Images], Labels] | None = None
    sources: dict[str, Model] = field(default_factory=dict)
    certifier: Certifier | None = None

    @cached_property
    def seeds(self) -> Seeds:
        return image_seeds(self.ids, self.seed)

    def survives(self, attack: Attack, epsilon: float | None = None) -> Flags:
        """Images right before and under a white-box attack, at another epsilon if one is given."""
        attacker = self.attacker
        if epsilon is not None:
            threat = ThreatModel(norm=attacker.threat.norm, epsilon=epsilon)
            attacker = Attacker(attacker.model, threat, attacker.batch)
        x_adv = attacker.run(attack, self.x, self.y, self.seeds)
        return np.asarray(self.right & (attacker.predict(x_adv) == self.y))

    @cached_property
    def right(self) -> Flags:
        """Right on the clean image."""
        return np.asarray(self.attacker.predict(self.x) == self.y)

    @cached_property
    def fgsm(self) -> Flags:
        """What FGSM leaves."""
        return self.survives(Fgsm())

    @cached_property
    def pgd(self) -> Flags:
        """What PGD-20 leaves."""
        return self.survives(Pgd(steps=20))

    @cached_property
    def long_pgd(self) -> Flags:
        """What PGD-100 leaves."""
        return self.survives(Pgd(steps=100))

    @cached_property
    def white_box(self) -> Flags:
        """What `WHITE_BOX` leaves, each attack on the images that the ones before it left."""
        left = self.long_pgd.copy()
        for attack in WHITE_BOX:
            rows = np.flatnonzero(left)
            left[rows] = self.unbroken(attack, rows)
        return left

    def unbroken(self, attack: Attack, rows: IntArray) -> BoolArray:
        """Which of some images are still right under an attack: bool [rows]."""
        x_adv = self.attacker.run(attack, self.x[rows], self.y[rows], self.seeds[rows])
        return np.asarray(self.attacker.predict(x_adv) == self.y[rows])


Measure = Callable[[Subject], Measured | None]
"""A check; None where it does not apply to the subject."""

CHECKS: dict[CheckName, Measure] = {}
"""The functions of this module, by name, in the order in which they run."""


def check(measure: Measure) -> Measure:
    """Register a function as the check of its own name.

    Raises:
        ValueError: `CheckName` has no such member.
    """
    CHECKS[CheckName(measure.__name__)] = measure
    return measure


def run_checks(subject: Subject) -> Iterator[Check]:
    """All checks that apply to the subject, each of which is told of when it begins."""
    for done, (name, measure) in enumerate(CHECKS.items()):
        counted = Fields(advance=int(done > 0), total=len(CHECKS), unit="checks")
        log.info("check %s", name, extra=counted)
        result = measure(subject)
        if result is not None:
            value = result.value if math.isfinite(result.value) else None
            yield Check(name=name, passed=result.passed, value=value, sentence=result.sentence)


def share(flags: Flags) -> float:
    """Share of the images for which something holds."""
    return float(np.mean(flags))


def count(flags: Flags) -> int:
    """Number of the images for which something holds."""
    return int(np.sum(flags))


def judged(
    subject: Subject,
    images: int,
    tolerance: float,
    sentence: str,
    value: float | None = None,
    right: int | None = None,
    n: int | None = None,
) -> Measured:
    """What a count of images means.

    Args:
        subject: whose.
        images: how many are a sign that a number is fake.
        tolerance: share of those looked at that may be.
        sentence: what was found.
        value: what is recorded; None for the share.
        right: on how many the model is right without an attack; None where that says nothing.
        n: how many are looked at; None for all.
    """
    n = len(subject.y) if n is None else n
    value = images / n if value is None else value
    if images > allowed(n, tolerance):
        return Measured(passed=False, value=value, sentence=sentence)
    if right is not None and right <= allowed(n, tolerance):
        reason = (
            f"It could not look: without an attack the model is right on {right} of {n} images. "
            "Are its pixels, its classes and its logits what the data has?"
        )
    elif escapes(n, tolerance) > 1.0 - SURE:
        reason = (
            f"{n} images are too few to tell: a sign in {tolerance + FAKE:.1%} of all images would "
            f"escape with a probability of {escapes(n, tolerance):.0%}. At least "
            f"{enough(n, tolerance)} are needed."
        )
    else:
        return Measured(passed=True, value=value, sentence=sentence)
    return Measured(passed=None, value=value, sentence=f"{sentence} {reason}")


@check
def logits_are_finite(subject: Subject) -> Measured:
    """A logit that is not a number is no answer."""
    finite = np.isfinite(subject.attacker.logits(subject.x))
    broken = ~np.all(finite, axis=1)
    return judged(
        subject,
        count(broken),
        0.0,
        f"A logit is infinite or not a number for {share(broken):.1%} of the images.",
    )


@check
def iterated_beats_one_step(subject: Subject) -> Measured:
    """Many small steps must find at least what one large step finds."""
    one, many = share(subject.fgsm), share(subject.pgd)
    return judged(
        subject,
        count(subject.pgd) - count(subject.fgsm),
        TOLERANCE,
        f"Accuracy is {one:.1%} under FGSM and {many:.1%} under PGD-20; iterated steps "
        "that find less than one step are a sign of masked gradients.",
        value=many - one,
        right=count(subject.right),
    )


@check
def accuracy_falls_with_epsilon(subject: Subject) -> Measured:
    """A larger ball must not be safer, and some ball must hurt."""
    threat = subject.attacker.threat
    epsilon, most = threat.epsilon, 1.0 if threat.norm is Norm.LINF else math.inf
    radii = sorted({epsilon / 2, epsilon, min(1.5 * epsilon, most)})
    n, curve = len(subject.y), [count(subject.right)]
    for radius in radii:
        left = subject.pgd if radius == epsilon else subject.survives(Pgd(steps=20), radius)
        curve.append(count(left))
    rise = max(after - before for before, after in itertools.pairwise(curve))
    listed = ", ".join(f"{k / n:.1%} at {e:g}" for e, k in zip([0.0, *radii], curve, strict=True))
    sentence = f"Accuracy under PGD-20 is {listed}; it must fall as epsilon grows."
    found = judged(subject, rise, TOLERANCE, sentence, right=curve[0])
    if not found.passed or curve[-1] < curve[0] or epsilon == 0:
        return found
    grey = _grey(subject)
    last = count(subject.survives(Pgd(steps=20), grey))
    sentence += f" It does not yet; at {grey:g} it is {last / n:.1%}."
    if last < curve[0]:
        return replace(found, sentence=sentence)
    if TOLERANCE * n >= 1.0:
        return replace(found, passed=False, sentence=sentence)
    reason = f"On {n} images it may stay by chance; {math.ceil(1 / TOLERANCE)} can tell."
    return replace(found, passed=None, sentence=f"{sentence} {reason}")


@check
def large_epsilon_breaks_everything(subject: Subject) -> Measured:
    """At epsilon 0.5 every image can become grey, for which a model has one answer. So it can be
    right on the images of one class, and on the others not: judged are those, because where most
    images are of one class, accuracy says nothing."""
    norm, radius = subject.attacker.threat.norm, _grey(subject)
    left = subject.survives(Pgd(steps=40), radius)
    by_class = np.bincount(subject.y[left] if left.any() else subject.y)
    others = subject.y != np.argmax(by_class)
    return judged(
        subject,
        count(left & others),
        CHANCE_SLACK,
        f"Accuracy under PGD-40 at {norm} epsilon {radius:g}, where every image can be turned "
        f"grey, is {share(left):.1%}; of the {count(others)} images of all classes except the one "
        f"that is right most often, {count(left & others)} are right.",
        value=share(left),
        right=count(subject.right & others),
        n=count(others),
    )


def _grey(subject: Subject) -> float:
    """The radius at which every image can become grey."""
    pixels = float(np.prod(subject.x.shape[1:]))
    return 0.5 if subject.attacker.threat.norm is Norm.LINF else 0.5 * math.sqrt(pixels)


@check
def black_box_finds_no_more(subject: Subject) -> Measured:
    """Square, which sees no gradients, must not break what white-box attacks leave."""
    left = np.flatnonzero(subject.white_box)
    n, more = len(subject.y), count(~subject.unbroken(Square(queries=SQUARE_QUERIES), left))
    return judged(
        subject,
        more,
        TOLERANCE,
        f"Square with {SQUARE_QUERIES} queries breaks {more / n:.1%} of the images that PGD and "
        f"Auto-PGD leave; more than {shown(n, TOLERANCE)} means that the gradients mislead, and "
        "that white-box attacks alone overrate the model.",
        right=count(subject.right),
    )


@check
def transfer_finds_no_more(subject: Subject) -> Measured | None:
    """Images made against other models must not break what white-box attacks leave."""
    if not subject.sources:
        return None
    left = np.flatnonzero(subject.white_box)
    x, y, seeds = subject.x[left], subject.y[left], subject.seeds[left]
    broken = np.zeros(len(left), bool)
    for source in subject.sources.values():
        attacker = Attacker(source, subject.attacker.threat, subject.attacker.batch)
        x_adv = attacker.transferable(x, y, seeds)
        broken |= subject.attacker.predict(x_adv) != y
    n, more = len(subject.y), count(broken)
    return judged(
        subject,
        more,
        TOLERANCE,
        f"Images made against {', '.join(subject.sources)} break {more / n:.1%} of the images "
        f"that PGD and Auto-PGD leave; more than {shown(n, TOLERANCE)} means that the gradients "
        "mislead.",
        right=count(subject.right),
    )


@check
def attack_has_converged(subject: Subject) -> Measured:
    """Five times as many steps must find hardly more."""
    short, long = share(subject.pgd), share(subject.long_pgd)
    return judged(
        subject,
        abs(count(subject.pgd) - count(subject.long_pgd)),
        CONVERGED,
        f"Accuracy is {short:.1%} under PGD-20 and {long:.1%} under PGD-100; a difference "
        f"above {shown(len(subject.y), CONVERGED)} means that more steps would find more.",
        value=short - long,
        right=count(subject.right),
    )


@check
def gradients_are_not_zero(subject: Subject) -> Measured:
    """An image whose gradient is exactly zero at all pixels gives a gradient attack nothing to
    follow."""
    gradient = subject.attacker.gradient(subject.x, subject.y)
    useless = (gradient == 0) | ~np.isfinite(gradient)
    zero = np.all(useless, axis=(1, 2, 3))
    return judged(
        subject,
        count(zero),
        ZERO_GRADIENTS,
        "The gradient of the cross-entropy is exactly zero (or not a number) for "
        f"{share(zero):.1%} of the images; above {ZERO_GRADIENTS:.0%} the loss is saturated or the "
        "model is not differentiable.",
    )


@check
def same_seed_same_result(subject: Subject) -> Measured:
    """Two runs with one seed must agree; otherwise the model draws random numbers."""
    first, again = (subject.attacker.logits(subject.x) for _ in range(2))
    with np.errstate(invalid="ignore"):  # of two that are infinite
        difference = float(np.max(np.abs(first - again)))
    scale = float(np.max(np.abs(first)))
    if not math.isfinite(difference):
        sentence = "It could not look: logits that are infinite or not a number cannot be compared."
        return Measured(passed=None, value=difference, sentence=sentence)
    return Measured(
        passed=difference <= 1e-4 * max(scale, 1.0),
        value=difference,
        sentence="Asked twice for the same images, the model gives logits that differ by up to "
        f"{difference:.2g}; a model that is random at inference makes every attack on it look "
        "weak.",
    )


@check
def noise_does_not_help(subject: Subject) -> Measured:
    """A model that is better on slightly noisy images than on clean ones was tuned to the attack's
    start."""
    size = min(subject.attacker.threat.epsilon / 4, 0.05)
    draw = np.random.default_rng(subject.seed).uniform(-1, 1, subject.x.shape)
    noisy = np.clip(subject.x + draw * size, 0, 1).astype(np.float32)
    clean, shaken = subject.right, np.asarray(subject.attacker.predict(noisy) == subject.y)
    return judged(
        subject,
        count(shaken) - count(clean),
        CONVERGED,
        f"Accuracy is {share(clean):.1%} on clean images and {share(shaken):.1%} with a little "
        "random noise.",
        right=count(clean),
    )


@check
def proofs_hold(subject: Subject) -> Measured | None:
    """No attack may break an image that a bound has proven."""
    if subject.certifier is None:
        return None
    safe = proven(subject.certifier.tighten(BoundName.CROWN, subject.x, subject.y))
    if not safe.any():
        return None  # nothing is claimed
    contradicted = safe & ~subject.white_box
    return judged(
        subject,
        count(contradicted),
        0.0,
        f"{np.sum(contradicted)} of {np.sum(safe)} proven images of the sample were broken by PGD "
        "or Auto-PGD; one would refute the bounds.",
        right=count(subject.right),
    )


@check
def served_model_is_the_evaluated_one(subject: Subject) -> Measured | None:
    """The signature that is served must answer as the network that was attacked, however many
    images it is asked for at once, in whatever order, and when one comes twice."""
    if subject.serve is None:
        return None
    classes, n = subject.attacker.predict(subject.x), len(subject.y)
    other = classes < 0  # no finite logits: no answer to agree with
    for rows in batches(n).values():
        other[rows[subject.serve(subject.x[rows]) != classes[rows]]] = True
    return judged(
        subject,
        count(other),
        0.0,
        "The serving signature gives another class than the evaluated logits for "
        f"{share(other):.1%} of the images, sent together, by three, alone, turned or twice.",
    )


def batches(n: int) -> dict[str, IntArray]:
    """Batches as clients send n images, by what they are: places among the images."""
    places = np.arange(n, dtype=np.int64)
    return {
        f"{n} images": places,
        "the same images in another order": places[::-1],
        "three images": places[:3],
        "an image twice": places[[0, 0, -1]],
        "one image": places[:1],
        "another one": places[-1:],
    }
