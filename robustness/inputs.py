"""What attacks and bounds can start from; the rest is refused with a sentence.

An attack on pixels in 0 to 255 ends without an error, inside a ball that means nothing, and a bound
there proves nothing. Knows no model.
"""

import numpy as np
import tensorflow as tf

from foundation.errors import DataError
from foundation.seeds import Seeds
from robustness.types import Images, Labels, Model


def image_spec(model: Model) -> tf.TensorSpec:
    """A batch of the images that a model takes: with their shape, where the model tells it as
    `image_shape`. What is traced with a shape that is known can hold operations that need it."""
    return tf.TensorSpec([None, *getattr(model, "image_shape", (None, None, None))], tf.float32)


def check_images(x: Images) -> None:
    """Refuse what is no batch of images.

    Raises:
        DataError: another dtype or rank, or pixels outside [0, 1].
    """
    if x.dtype != np.float32 or x.ndim != 4:
        raise DataError(f"expected images float32 [n, h, w, c], got {x.dtype} {list(x.shape)}")
    if not np.all((x >= 0) & (x <= 1)):  # NaN fails as well
        raise DataError(
            f"expected pixels in [0, 1], got {x.min():g} to {x.max():g}; divide bytes by 255"
        )


def check_labels(y: Labels, images: int, classes: int | None) -> None:
    """Refuse what are no labels of so many images.

    Args:
        y: the labels.
        images: their number.
        classes: number of the model's logits, None where it is not known.

    Raises:
        DataError: another dtype or length, or a label that is no class of the model.
    """
    if y.dtype != np.int64 or y.shape != (images,):
        raise DataError(f"expected labels int64 [{images}], got {y.dtype} {list(y.shape)}")
    if images and (y.min() < 0 or (classes is not None and y.max() >= classes)):
        limit = "the number of classes" if classes is None else f"the {classes} classes"
        raise DataError(f"expected labels from 0 to below {limit}, got {y.min()} to {y.max()}")


def check_seeds(seeds: Seeds, images: int) -> None:
    """Refuse what are no seeds of so many images.

    Raises:
        DataError: another dtype or shape.
    """
    if seeds.dtype != np.int64 or seeds.shape != (images, 2):
        raise DataError(
            f"expected seeds int64 [{images}, 2], as image_seeds gives them, "
            f"got {seeds.dtype} {list(seeds.shape)}"
        )
