"""ONNX's pools, on [n, h, w, c]."""

import numpy as np
import tensorflow as tf

from trainer.models.onnx_reader.operations import operator
from trainer.models.onnx_reader.values import Node, Operand, Value
from trainer.models.onnx_reader.windows import (
    Pads,
    height_and_width,
    padding_of,
    pads_of,
    same_pads,
    strides_of,
    windows_of,
)


@operator("MaxPool", "AveragePool")
def pool(node: Node, x: Operand) -> Value:
    """Pads are put around the images first, so that TensorFlow pools without any."""
    image = node.image(x)
    kernel, strides = node.attribute("kernel_shape", []), strides_of(node)
    node.expect_attribute("storage_order", 0)
    node.expect_attribute("dilations", [1, 1])
    ceil, padded_count = node.attribute("ceil_mode", 0), node.attribute("count_include_pad", 0)
    windows, sizes = windows_of(node, kernel, [1, 1]), height_and_width(node, image)
    pads = pads_of(node, sizes, windows, strides)
    outside = any(w <= max(p) for w, p in zip(windows, pads, strict=True))
    if outside or any(w > n + sum(p) for w, n, p in zip(windows, sizes, pads, strict=True)):
        raise node.refusal(f"expected windows inside of images {sizes}, got {windows}, pads {pads}")
    behind = [0, 0]
    if ceil and node.attributes.get("auto_pad", "NOTSET") == "NOTSET":
        behind = [_ceil(*of) for of in zip(sizes, windows, strides, pads, strict=True)]
    around = [(p[0], p[1] + more) for p, more in zip(pads, behind, strict=True)]
    if node.operator == "MaxPool":
        return image.like(_max_pool(image, windows, strides, around), image.nonnegative)
    counts = [
        _counts(size, w, s, p, more, padded_count)
        for size, w, s, p, more in zip(sizes, windows, strides, pads, behind, strict=True)
    ]
    return image.like(_average_pool(image, windows, strides, around, counts), image.nonnegative)


def _ceil(size: int, window: int, stride: int, pad: tuple[int, int]) -> int:
    """How many pixels ceil_mode adds behind; no window begins behind the image and its pad."""
    room = size + sum(pad) - window
    places = -(-room // stride)
    if places * stride >= size + pad[0]:
        places -= 1
    return max(places * stride - room, 0)


def _max_pool(image: Value, windows: list[int], strides: list[int], pads: Pads) -> tf.Tensor:
    sizes = list(image.tensor.shape[1:3])
    padding = padding_of(pads, same_pads(sizes, windows, strides))
    if isinstance(padding, str):
        return tf.nn.max_pool2d(image.tensor, windows, strides, padding)
    # behind a ReLU zeros never win, and the bounds know them
    lowest = 0 if image.nonnegative else image.tensor.dtype.min
    padded = tf.pad(image.tensor, padding, constant_values=lowest)
    return tf.nn.max_pool2d(padded, windows, strides, "VALID")


def _counts(
    size: int, window: int, stride: int, pad: tuple[int, int], behind: int, padded: int
) -> np.ndarray:
    """By how many pixels the sum of each window is divided, along one axis; what ceil_mode adds
    never counts."""
    counted = np.concatenate(
        [np.full(pad[0], padded), np.ones(size), np.full(pad[1], padded), np.zeros(behind)]
    )
    starts = range(0, len(counted) - window + 1, stride)
    return np.array([counted[start : start + window].sum() for start in starts])


def _average_pool(
    image: Value, windows: list[int], strides: list[int], pads: Pads, counts: list[np.ndarray]
) -> tf.Tensor:
    x, area = image.tensor, windows[0] * windows[1]
    count = np.outer(*counts)
    padding = padding_of(pads, same_pads(list(x.shape[1:3]), windows, strides))
    if padding == "VALID" or (padding == "SAME" and np.all(count == _inside(x, windows, strides))):
        return tf.nn.avg_pool2d(x, windows, strides, padding)
    padded = tf.pad(x, [[0, 0], *map(list, pads), [0, 0]])
    result = tf.nn.avg_pool2d(padded, windows, strides, "VALID")
    if np.all(count == area):
        return result
    factor = (area / count)[:, :, None].astype(x.dtype.as_numpy_dtype)
    return result * tf.constant(factor)


def _inside(x: tf.Tensor, windows: list[int], strides: list[int]) -> np.ndarray:
    """The pixels that TensorFlow counts in each window for 'SAME'."""
    sizes = list(x.shape[1:3])
    axes = zip(sizes, windows, strides, same_pads(sizes, windows, strides), strict=True)
    return np.outer(*(_counts(size, w, s, p, 0, 0) for size, w, s, p in axes))


@operator("GlobalAveragePool")
def global_average(node: Node, x: Operand) -> Value:
    image = node.image(x)
    return image.like(tf.reduce_mean(image.tensor, [1, 2], keepdims=True), image.nonnegative)


@operator("GlobalMaxPool")
def global_maximum(node: Node, x: Operand) -> Value:
    image = node.image(x)
    return image.like(tf.reduce_max(image.tensor, [1, 2], keepdims=True), image.nonnegative)
