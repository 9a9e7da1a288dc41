"""How many images go through a network at once, so that nothing in between outgrows the memory.

It follows from the network, its images and its classes, not from the machine: the same evaluation
is cut alike everywhere. Results do not depend on it.
"""

import logging
from collections.abc import Callable, Iterator
from weakref import WeakKeyDictionary

import numpy as np
import tensorflow as tf

from foundation.errors import RunError
from robustness.ascent import slope
from robustness.inlining import inlined
from robustness.types import Model

log = logging.getLogger("gauntlet.memory")

BUDGET = 1 << 30
"""Bytes that all intermediate values of one batch may take together. TensorFlow frees most of them
before the last is made, so the peak lies well below."""

FEW = 16
"""Images at once of a network with values whose size is not known."""

LOOPS = {"While", "StatelessWhile", "If", "StatelessIf", "Case", "StatelessCase"}

_KNOWN: "WeakKeyDictionary[Model, dict[tuple[int, ...], int]]" = WeakKeyDictionary()


def images_at_once(model: Model, image_shape: tuple[int, ...], passes: float = 1.0) -> int:
    """Images whose intermediate values fit into the budget; at least one.

    Args:
        model: images to logits.
        image_shape: height, width, channels.
        passes: how many times the values of a forward and a backward pass are held at once.
    """
    return max(1, int(BUDGET / (passes * bytes_an_image(model, image_shape))))


def bytes_an_image(model: Model, image_shape: tuple[int, ...]) -> int:
    """Size of all values that a gradient for one image computes; at least that of the image."""
    known = _KNOWN.setdefault(model, {})
    if image_shape not in known:
        known[image_shape] = max(_measured(model, image_shape), 4 * int(np.prod(image_shape)))
    return known[image_shape]


def _measured(model: Model, image_shape: tuple[int, ...]) -> int:
    batch: int | None = getattr(model, "batch", None)
    if batch:  # it takes batches of one size, one after the other
        one_batch: Model = getattr(model, "one_batch")  # noqa: B009  a function has no such name
        return _bytes(one_batch, (batch, *image_shape)) // batch
    one, two = (_bytes(model, (images, *image_shape)) for images in (1, 2))
    return two - one


def _bytes(model: Model, shape: tuple[int, ...]) -> int:
    """Size of all values that the gradient for a batch computes."""
    gradient = tf.function(lambda x: slope(model, x, _sum).gradient, autograph=False)
    spec = tf.TensorSpec(shape, tf.float32)
    concrete = gradient.get_concrete_function(spec)
    tensors = [
        tensor for op in inlined(concrete, spec).graph.get_operations() for tensor in op.outputs
    ]
    sized = [tensor for tensor in tensors if tensor.shape.is_fully_defined()]
    known: int = sum(tensor.shape.num_elements() * tensor.dtype.size for tensor in sized)
    open_sizes = any(t.dtype.is_floating and not t.shape.is_fully_defined() for t in tensors)
    loops = any(tensor.op.type in LOOPS for tensor in tensors)
    # What nobody can count, as the values inside of a loop, takes few images at once.
    return known + (shape[0] * BUDGET // FEW if open_sizes or loops else 0)


def _sum(logits: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(logits, axis=1)


def in_parts(function: Callable[..., np.ndarray], at_once: int, *arrays: np.ndarray) -> np.ndarray:
    """The results of a function of arrays with a row an image, for so many images at a time.

    Where the memory, such as that of an accelerator, does not suffice, it is tried with half as
    many.

    Raises:
        RunError: it does not suffice for one image.
    """
    while True:
        try:
            return np.concatenate(list(_parts(function, at_once, arrays)))
        except tf.errors.ResourceExhaustedError as error:
            if at_once == 1:
                raise RunError(
                    "the memory does not suffice for one image: use a machine or an accelerator "
                    "with more, or smaller images"
                ) from error
            at_once = at_once // 2
            log.warning("out of memory: trying with %d images at once", at_once)


def _parts(
    function: Callable[..., np.ndarray], at_once: int, arrays: tuple[np.ndarray, ...]
) -> Iterator[np.ndarray]:
    for begin in range(0, max(len(arrays[0]), 1), at_once):
        yield np.asarray(function(*(array[begin : begin + at_once] for array in arrays)))
