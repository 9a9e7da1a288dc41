"""What an evaluation is about: the model as it is asked, the data's classes in its order, and what
makes one doubt that the two belong together.

A model that expects other pixels, or whose outputs stand in another order, is no error that a file
shows: its clean accuracy does.
"""

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.stats import binom

from components.evaluator.finding import sign_test
from foundation.errors import RefusedData
from gauntlet.evaluation.chance import Chance
from robustness.attacks.attacker import Attacker
from robustness.types import Flags, Images, IntArray, Labels
from trainer.classes import normalised
from trainer.models.pixels import Pixels

NO_BETTER = 0.01
"""Probability with which guessing is right so often, above which nothing tells the two apart."""

BETTER = 0.02
"""Accuracy by which another reading of the pixels must be better to be worth a word."""

TURNED = 0.3
"""Accuracy by which the smallest output must be better to be what was meant."""

BY_CHANCE = 1e-3
"""Probability below which it is not better by chance (exact sign test)."""

READ = 128
"""Images that are read in other ways."""

Predict = Callable[[Images], Labels]

READINGS: dict[str, Callable[[Images], Images]] = {
    "light and dark exchanged": lambda x: np.float32(1) - x,
    "channels in the opposite order (BGR)": lambda x: x[..., ::-1],
    "rows and columns exchanged": lambda x: np.swapaxes(x, 1, 2),
}
"""How else the same images could have been given to a model in its training, whatever it took for
black and white."""


def readings(pixels: Pixels) -> Iterator[tuple[str, Callable[[Images], Images]]]:
    """All of them: by its name what to do to images in [0, 1], so that a model that is asked with
    these pixels gets what the name says."""
    black, white = pixels.ends
    for other in Pixels:
        if other is not pixels:
            low, high = other.ends
            factor, shift = (high - low) / (white - black), (low - black) / (white - black)
            change = functools.partial(_line, factor=np.float32(factor), shift=np.float32(shift))
            yield f"pixels from {low:g} to {high:g} (--pixels {other})", change
    yield from READINGS.items()


def _line(x: Images, factor: np.float32, shift: np.float32) -> Images:
    return x * factor + shift


def chance_of(predict: Predict, x: Images, y: Labels) -> Chance:
    """The clean accuracy on a sample, and chance."""
    return Chance(
        images=len(y),
        right=float(np.mean(predict(x) == y)),
        chance=float(np.bincount(y).max() / len(y)),
    )


def doubts_about(
    attacker: Attacker, x: Images, y: Labels, clean: Chance, pixels: Pixels
) -> Iterator[str]:
    """What a sample says of a model of which the logits are known: see `doubts`."""

    def least(x: Images) -> Labels:
        return np.argmin(attacker.logits(x), axis=1)

    return doubts(attacker.predict, x, y, clean, pixels, least)


def doubts(
    predict: Predict,
    x: Images,
    y: Labels,
    clean: Chance,
    pixels: Pixels,
    least: Predict | None = None,
) -> Iterator[str]:
    """What speaks for another reading of images or classes, a sentence each.

    Args:
        predict: images, whose pixels may leave [0, 1], to classes.
        x, y: a sample.
        clean: the accuracy on it.
        pixels: what the model is asked with.
        least: images to the classes with the smallest output; None where they are not known.
    """
    predicted = predict(x)
    if lost := int(np.sum(predicted < 0)):
        yield (
            f"The logits are infinite or not a number for {lost} of the first {len(y)} clean "
            "images: they count as wrong. Was the training of the model whole?"
        )
        return
    if np.any(predict(x) != predicted):
        return  # it is random, which is said elsewhere; nothing can be told from single answers
    ordered = _ordered(predicted, y)
    smallest = float(np.mean(least(x) == y)) if least else 0.0
    if smallest > clean.right + TURNED and smallest >= ordered:
        yield (
            f"The model is right on {clean.right:.1%} of the first {len(y)} clean images, and its "
            f"smallest output on {smallest:.1%}: its outputs are probably distances, or negative. "
            "Export their negatives."
        )
        return
    order = _order(ordered, y, clean.right)
    right = predicted == y
    tried = _better(predict, x[:READ], y[:READ], right[:READ], pixels)
    other = [reading.sentence for reading in tried if reading.share >= ordered or not order][:1]
    if order:
        other.append(order)
    if (
        not other
        and pixels is not Pixels.UNIT
        and (untold := _untold(predict, x, y, right, pixels))
    ):
        other.append(untold)
    yield from other
    if not other and _may_be_chance(clean):
        yield (
            f"The model is right on {clean.right:.1%} of the first {clean.images} clean images; "
            f"always saying the most frequent class gives {clean.chance:.1%}. Nothing that follows "
            "means anything if it was trained with other pixels (--pixels), with other "
            "preprocessing, or with the classes in another order (--classes)."
        )


def _may_be_chance(clean: Chance) -> bool:
    """Whether always saying the most frequent class would be right as often, now and then."""
    right = round(clean.right * clean.images)
    return bool(binom.sf(right - 1, clean.images, clean.chance) > NO_BETTER)


def _untold(predict: Predict, x: Images, y: Labels, right: Flags, pixels: Pixels) -> str:
    """A sentence where the pixels that a user named are no better than those from 0 to 1, of which
    nobody would have had to tell; '' where they are. right: whether the model is, on each image."""
    name, change = next(readings(pixels))
    other = predict(np.ascontiguousarray(change(x), np.float32)) == y
    won, lost = int(np.sum(right & ~other)), int(np.sum(other & ~right))
    few = sign_test(won + lost, 0) > BY_CHANCE  # no difference could be significant
    if won > lost and (few or sign_test(won, lost) < BY_CHANCE):
        return ""
    return (
        f"With --pixels {pixels} the model is right on {np.mean(right):.1%} of the first {len(y)} "
        f"clean images, and with {name} on {np.mean(other):.1%}: they do not tell which it was "
        "trained with. With the wrong ones, gradients vanish and attacks find less than there is."
    )


@dataclass(frozen=True)
class Reading:
    """Another reading that is better than the one taken: on what share of the images the model is
    right then, and the sentence about it."""

    share: float
    sentence: str


def _better(predict: Predict, x: Images, y: Labels, right: Flags, pixels: Pixels) -> list[Reading]:
    """The readings that are better than the one taken, the best first. right: see `_untold`."""
    better = []
    for name, change in readings(pixels):
        changed = np.ascontiguousarray(change(x), np.float32)
        if changed.shape != x.shape or np.array_equal(changed, x):
            continue
        other = predict(changed) == y
        won, lost = int(np.sum(other & ~right)), int(np.sum(right & ~other))
        if won - lost > BETTER * len(y) and sign_test(won, lost) < BY_CHANCE:
            share = float(np.mean(other))
            sentence = (
                f"The model is right on {np.mean(right):.1%} of the first {len(y)} clean images, "
                f"and with {name} on {share:.1%}: it was probably trained that way, and then every "
                "number here is wrong."
            )
            better.append(Reading(share, sentence))
    return sorted(better, key=lambda reading: -reading.share)


def _ordered(predicted: Labels, y: Labels) -> float:
    """The accuracy if the outputs stood in the order that fits best."""
    classes = int(max(predicted.max(initial=0), y.max())) + 1
    counts = np.zeros((classes, classes), int)
    np.add.at(counts, (y, predicted), 1)
    return float(counts[linear_sum_assignment(-counts)].sum() / len(y))


def _order(ordered: float, y: Labels, right: float) -> str:
    """A sentence where the outputs fit the labels much better in another order."""
    classes = int(y.max()) + 1
    if ordered <= right + max(0.05, 2 * np.sqrt(classes / len(y))):
        return ""
    return (
        f"The model is right on {right:.1%} of the first {len(y)} clean images, and would be on "
        f"{ordered:.1%} if its outputs stood in another order: its classes are probably not in the "
        "data's order. Name them in the order of its outputs with --classes."
    )


def matched(model: tuple[str, ...], data: tuple[str, ...]) -> IntArray:
    """The output of the model for each label of the data, by name.

    Args:
        model: names of its classes, in the order of its outputs.
        data: names of the data's classes, in the order of the labels.

    Raises:
        RefusedData: the model does not know a class of the data.
    """
    model, data = (normalised(names) for names in (model, data))
    unknown = [name for name in data if name not in model]
    if unknown:
        raise RefusedData(
            f"the data has classes that the model does not know: {', '.join(unknown)}; the model "
            f"knows {', '.join(model)}. Where these are only other words, name them in the order "
            "of its outputs with --classes"
        )
    return np.array([model.index(name) for name in data], np.int64)
