"""A configuration that fits a folder of images, by their size and number."""

import dataclasses
import math
from collections import Counter
from dataclasses import dataclass

from components.datasets.image_folder import ImageFolder, Size, class_of
from components.evaluator.asked import gates
from components.policy import GatesConfig
from robustness.config import CheckName

EPSILON = 8 / 255
"""Radius at which photographs are usually judged."""

LARGEST = 224
"""Side of an image, in pixels, up to which the built-in network is reasonable."""

LAST = 8
"""Side of what the last convolution sees: strides bring images down to it."""

FILTERS = (32, 64, 64, 128, 128, 128)
"""Of the convolutions, the first ones for small images."""

STEPS = 2000
"""About so many steps of training, where the bounds on the epochs allow it."""

EPOCHS = (5, 60)

BATCHES = ((5_000, 32), (20_000, 64), (10**12, 128))
"""Up to so many training images, and the images a step."""

ASKED = GatesConfig(clean=0.9, worst_case=0.5, worst_class=0.3)
"""Examples of bounds; they are written as comments."""


@dataclass(frozen=True, kw_only=True)
class Fit:
    """What fits a folder.

    images: as they are taken, resized where that is needed. filters, stride: of the convolutions.
    batch_size, epochs: of the training.
    """

    images: ImageFolder
    filters: tuple[int, ...]
    stride: tuple[int, ...]
    batch_size: int
    epochs: int

    @property
    def training_images(self) -> int:
        """Images that are trained on, without those held out."""
        found = len(self.images.files["train"])
        return found - self.held_out if self.images.held_out is None else found

    @property
    def few(self) -> int:
        """A tenth of them, for a first look, and at least two batches where there are as many."""
        return min(self.training_images, max(self.training_images // 10, 2 * self.batch_size))

    @property
    def least(self) -> float:
        """The share that guessing gets right, as a bound: rounded up, except where so few test
        images could not show it."""
        images, classes = len(self.images.files["test"]), len(self.images.classes)
        shown = 0.025 ** (1 / images)  # lower end of the exact 95 % interval where all are right
        return min(math.ceil(100 / classes), math.floor(100 * shown)) / 100

    @property
    def held_out(self) -> int:
        """Images for validation."""
        if self.images.held_out is not None:
            return len(self.images.files[self.images.held_out])
        begin = self.images.splits["validation"].removeprefix("train[").removesuffix(":]")
        return len(self.images.files["train"]) - int(begin)


def fit(found: ImageFolder) -> Fit:
    """What fits a folder.

    found: what lies in it, whatever size the images are brought to there.

    Raises:
        DataError: a split or a class is missing.
    """
    resize = resize_of(found.sizes)
    size = resize or next(iter(found.sizes))
    images = dataclasses.replace(found, resize=resize, image_shape=(*size, found.image_shape[2]))
    halvings = max(1, math.ceil(math.log2(max(size) / LAST)))
    begun = Fit(images=images, filters=(), stride=(), batch_size=1, epochs=1)
    count = begun.training_images
    batch = min(next(size for most, size in BATCHES if count <= most), max(1, count // 2))
    fewest, most = EPOCHS
    return dataclasses.replace(
        begun,
        filters=(FILTERS + FILTERS[-1:] * halvings)[: halvings + 1],
        stride=(2,) * halvings + (1,),
        batch_size=batch,
        epochs=min(most, max(fewest, round(STEPS * batch / count))),
    )


def resize_of(sizes: dict[Size, int]) -> Size | None:
    """Height and width to which images are brought; None where all have one that is not too
    large."""
    (usual, _), *_ = Counter(sizes).most_common()
    shrink = min(1.0, LARGEST / max(usual))
    if len(sizes) == 1 and shrink == 1.0:
        return None
    height, width = (max(1, round(side * shrink)) for side in usual)
    return height, width


def too_few(images: ImageFolder) -> list[str]:
    """What no model could show on so few test images, and how many it takes."""
    names = images.classes
    counts = Counter(names.index(class_of(name)) for name in images.files["test"])
    reasons: dict[str, list[str]] = {}
    for gate in gates(dataclasses.replace(ASKED, checks=tuple(CheckName)), tuple(names)):
        if reason := gate.beyond(counts):
            reasons.setdefault(reason, []).append(gate.name)
    return [f"{', '.join(gates)}: {reason.strip()}" for reason, gates in reasons.items()]
