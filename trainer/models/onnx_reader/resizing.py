"""ONNX's resizing of images, on [n, h, w, c]."""

import math
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from trainer.models.onnx_reader.operations import operator
from trainer.models.onnx_reader.values import Node, Operand, Value
from trainer.models.onnx_reader.windows import height_and_width

LARGEST = 1 << 14
"""Pixels along a side."""
Coordinates = Callable[[np.ndarray, float, int, int], np.ndarray]
COORDINATES: dict[str, Coordinates] = {
    "half_pixel": lambda i, scale, size, out: (i + 0.5) / scale - 0.5,
    "pytorch_half_pixel": lambda i, scale, size, out: (
        (i + 0.5) / scale - 0.5 if out > 1 else np.zeros(1)
    ),
    "asymmetric": lambda i, scale, size, out: i / scale,
    "align_corners": lambda i, scale, size, out: (
        i * (size - 1) / (out - 1) if out > 1 else np.zeros(1)
    ),
}
"""From a place in the output to one in the input, one axis."""
ROUNDINGS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "round_prefer_floor": lambda x: np.ceil(x - 0.5),
    "round_prefer_ceil": lambda x: np.floor(x + 0.5),
    "floor": np.floor,
    "ceil": np.ceil,
}


@operator("Upsample")
def upsample(node: Node, x: Operand, scales: Operand | None = None) -> Value:
    mode = node.expect_attribute("mode", "nearest", "linear", "bilinear")
    given = node.attribute("scales", None)
    factors = node.constant(scales, "scales").array.tolist() if scales is not None else given
    return _resize(node, node.image(x), mode, "asymmetric", "floor", factors, None)


@operator("Resize")
def resize(node: Node, x: Operand, *given: Operand | None) -> Value:
    mode = node.expect_attribute("mode", "nearest", "linear")
    old = node.opset < 11
    coordinates = node.expect_attribute(
        "coordinate_transformation_mode", "asymmetric" if old else "half_pixel", *COORDINATES
    )
    rounding = node.expect_attribute(
        "nearest_mode", "floor" if old else "round_prefer_floor", *ROUNDINGS
    )
    node.expect_attribute("antialias", 0)
    node.expect_attribute("keep_aspect_ratio_policy", "stretch")
    for unused in ("cubic_coeff_a", "exclude_outside", "extrapolation_value"):
        node.attribute(unused, None)  # of modes that are refused
    axes = node.attribute("axes", None)
    operands = [*given, *[None] * 3][:3] if not old else [None, given[0], None]
    scales, sizes = (_per_axis(node, o, axes) for o in operands[1:])
    return _resize(node, node.image(x), mode, coordinates, rounding, scales, sizes)


def _per_axis(node: Node, operand: Operand | None, axes: list[int] | None) -> list | None:
    """Scales or sizes of the four axes, None for axes that stay."""
    if operand is None or isinstance(operand, Value) or operand.array.size == 0:
        if isinstance(operand, Value):
            node.constant(operand, "scales and sizes")
        return None
    numbers = operand.array.tolist()
    if axes is None:
        return numbers
    by_axis = dict(zip([axis % 4 for axis in axes], numbers, strict=True))
    return [by_axis.get(axis) for axis in range(4)]


def _resize(node: Node, image: Value, mode: str, coordinates: str, rounding: str,
            scales: list | None, sizes: list | None) -> Value:  # fmt: skip
    before, given = height_and_width(node, image), sizes or scales
    if given is None or len(given) != 4:
        raise node.refusal(f"expected scales or sizes of four axes, got {given}")
    channels = image.tensor.shape[3]
    stays = [None, channels] if sizes else [None, 1]
    if given[1] not in stays or (scales and not sizes and given[0] not in (None, 1)):
        raise node.refusal(f"expected height and width to be resized alone, got {given}")
    if sizes:
        out = [old if new is None else new for old, new in zip(before, sizes[2:], strict=True)]
        factors = [new / old for new, old in zip(out, before, strict=True)]
    else:
        factors = [1.0 if factor is None else factor for factor in given[2:]]
        out = [math.floor(n * factor) for n, factor in zip(before, factors, strict=True)]
    if not 1 <= min(out) <= max(out) <= LARGEST:
        raise node.refusal(f"expected sizes from 1 to {LARGEST} pixels, got {out}")
    whole = all(abs(n * f - o) < 1e-6 * o for n, f, o in zip(before, factors, out, strict=True))
    if coordinates == "align_corners" and not whole:  # the standard leaves open what is aligned
        raise node.refusal(f"expected scales that lead to whole sizes, got {factors} of {before}")
    places = [
        COORDINATES[coordinates](np.arange(new, dtype=np.float64), factor, old, new)
        for new, factor, old in zip(out, factors, before, strict=True)
    ]
    if mode == "nearest":
        return image.like(_nearest(image.tensor, places, ROUNDINGS[rounding]), image.nonnegative)
    return image.like(_linear(node, image.tensor, places), image.nonnegative)


def _nearest(
    x: tf.Tensor, places: list[np.ndarray], rounded: Callable[[np.ndarray], np.ndarray]
) -> tf.Tensor:
    """TensorFlow's own operation where it takes the same pixels."""
    out = [len(place) for place in places]
    pixels = [
        np.clip(rounded(place), 0, size - 1).astype(np.int32)
        for place, size in zip(places, x.shape[1:3], strict=True)
    ]
    theirs = [np.arange(new) * size // new for new, size in zip(out, x.shape[1:3], strict=True)]
    if all(map(np.array_equal, pixels, theirs)):
        return tf.raw_ops.ResizeNearestNeighbor(images=x, size=out)
    return tf.gather(tf.gather(x, pixels[0], axis=1), pixels[1], axis=2)


def _linear(node: Node, x: tf.Tensor, places: list[np.ndarray]) -> tf.Tensor:
    """TensorFlow's own operation, which must look at the same places."""
    out, sizes = [len(place) for place in places], list(x.shape[1:3])
    for align, half in ((False, True), (True, False), (False, False)):
        theirs = [_places(new, size, align, half) for new, size in zip(out, sizes, strict=True)]
        limits = zip(places, theirs, sizes, strict=True)
        if all(_same_places(own, other, size) for own, other, size in limits):
            result = tf.raw_ops.ResizeBilinear(
                images=x, size=out, align_corners=align, half_pixel_centers=half
            )
            return tf.cast(result, x.dtype)  # which gives float32
    raise node.refusal(f"expected scales that lead to whole sizes, got {sizes} to {out} pixels")


def _places(out: int, size: int, align: bool, half: bool) -> np.ndarray:
    """Where TensorFlow's operations look."""
    index = np.arange(out)
    if align:
        return index * ((size - 1) / (out - 1) if out > 1 else size / out)
    return (index + 0.5) * (size / out) - 0.5 if half else index * (size / out)


def _same_places(own: np.ndarray, other: np.ndarray, size: int) -> bool:
    return np.allclose(np.clip(own, 0, size - 1), np.clip(other, 0, size - 1), atol=1e-6 * size)
