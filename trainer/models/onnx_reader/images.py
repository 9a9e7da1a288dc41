"""ONNX's operators on images: convolutions, pools, resizing, all on [n, h, w, c]."""

import math
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from trainer.models.onnx_reader.operations import operator
from trainer.models.onnx_reader.values import Node, Operand, Value

Pads = list[tuple[int, int]]
"""Of height and width: before, behind."""


def _windows(node: Node, kernel: Sequence[int], dilations: Sequence[int]) -> list[int]:
    """Height and width that a window reaches over."""
    if len(kernel) != 2 or len(dilations) != 2 or min(*kernel, *dilations) < 1:
        raise node.refusal(f"expected windows of height and width, got {list(kernel)}")
    return [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]


def _strides(node: Node) -> list[int]:
    strides = node.attribute("strides", [1, 1])
    if len(strides) != 2 or min(strides) < 1:
        raise node.refusal(f"expected strides of height and width, got {strides}")
    return strides


def _pads(node: Node, sizes: Sequence[int], windows: Sequence[int], strides: list[int]) -> Pads:
    auto = node.expect_attribute("auto_pad", "NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER")
    given = node.attribute("pads", [0, 0, 0, 0])
    _expect_moderate(node, sizes, windows, given)
    if auto == "NOTSET":
        return [(given[0], given[2]), (given[1], given[3])]
    if auto == "VALID":
        return [(0, 0), (0, 0)]
    upper = _same(sizes, windows, strides)
    return upper if auto == "SAME_UPPER" else [(behind, before) for before, behind in upper]


def _expect_moderate(
    node: Node, sizes: Sequence[int], windows: Sequence[int], pads: Sequence[int]
) -> None:
    """That no number in the file makes more memory than images of that size would."""
    most = 4 * max(sizes) + 64
    if len(pads) != 4 or min(pads) < 0 or max(*pads, *windows) > most:
        raise node.refusal(
            f"expected four pads from 0 on, and windows of the size of the images {sizes}, got "
            f"pads {pads} and windows {list(windows)}"
        )


def _same(sizes: Sequence[int], windows: Sequence[int], strides: Sequence[int]) -> Pads:
    """What TensorFlow pads for 'SAME'."""
    triples = zip(sizes, windows, strides, strict=True)
    totals = [max((-(-size // s) - 1) * s + w - size, 0) for size, w, s in triples]
    return [(total // 2, total - total // 2) for total in totals]


def _padding(pads: Pads, same: Pads) -> str | list[list[int]]:
    """The simplest way to tell TensorFlow of pads."""
    if not any(map(any, pads)):
        return "VALID"
    return "SAME" if pads == same else [[0, 0], *map(list, pads), [0, 0]]


def _sizes(node: Node, image: Value) -> list[int]:
    _, height, width, _ = image.tensor.shape
    if height is None or width is None:
        raise node.refusal("expected images of a known height and width")
    return [height, width]


@operator("Conv")
def convolution(node: Node, x: Operand, weight: Operand, bias: Operand | None = None) -> Value:
    array = node.constant(weight, "the weight").array
    if array.ndim != 4:
        raise node.refusal(f"expected a weight of four axes, got shape {array.shape}")
    image, dilations = node.image(x), node.attribute("dilations", [1, 1])
    _expect_kernel(node, array)
    groups, strides = node.attribute("group", 1), _strides(node)
    windows, sizes = _windows(node, array.shape[2:], dilations), _sizes(node, image)
    pads = _pads(node, sizes, windows, strides)
    if any(w > size + sum(p) for w, size, p in zip(windows, sizes, pads, strict=True)):
        raise node.refusal(f"expected windows inside of the padded images {sizes}, got {windows}")
    channels, outputs = image.tensor.shape[3], array.shape[0]
    if groups < 1 or channels != array.shape[1] * groups or outputs % groups:
        raise node.refusal(
            f"expected a weight for {channels} channels in {groups} groups, got {array.shape}"
        )
    padding = _padding(pads, _same(sizes, windows, strides))
    compute = _depthwise if array.shape[1] == 1 < groups and len(set(strides)) == 1 else _grouped
    result = compute(node, image.tensor, weight, groups, dilations, strides, padding)
    return image.like(_biased(node, result, bias))


def _expect_kernel(node: Node, array: np.ndarray) -> None:
    kernel = list(array.shape[2:])
    if node.attribute("kernel_shape", kernel) != kernel:
        raise node.refusal(f"expected the kernel_shape of its weight, {kernel}")


def _grouped(node: Node, x: tf.Tensor, weight: Operand, groups: int, dilations: list[int],
             strides: list[int], padding: str | list[list[int]]) -> tf.Tensor:  # fmt: skip
    """One convolution a group: on CPUs TensorFlow has no gradient of a grouped one, nor of a
    dilated one, so that dilated kernels get zeros between their weights."""
    parts = tf.split(x, groups, axis=3) if groups > 1 else [x]
    results = []
    for group, part in enumerate(parts):
        kernel = node.tensor(
            weight,
            ("hwio", *dilations, group, groups),
            lambda w: _dilated(_part(w, group, groups).transpose(2, 3, 1, 0), dilations),  # noqa: B023  called at once
        )
        results.append(tf.nn.conv2d(part, kernel, strides, padding))
    return tf.concat(results, 3) if groups > 1 else results[0]


def _part(weight: np.ndarray, group: int, groups: int) -> np.ndarray:
    outputs = weight.shape[0] // groups
    return weight[group * outputs : (group + 1) * outputs]


def _depthwise(node: Node, x: tf.Tensor, weight: Operand, groups: int, dilations: list[int],
               strides: list[int], padding: str | list[list[int]]) -> tf.Tensor:  # fmt: skip
    def change(w: np.ndarray) -> np.ndarray:
        height, width = w.shape[2:]
        kernel = w.reshape(groups, -1, height, width).transpose(2, 3, 0, 1)
        return _dilated(kernel, dilations)

    kernel = node.tensor(weight, ("depthwise", *dilations), change)
    return tf.nn.depthwise_conv2d(x, kernel, [1, *strides, 1], padding)


def _dilated(kernel: np.ndarray, dilations: Sequence[int]) -> np.ndarray:
    """A kernel [h, w, ...] with zeros between its weights."""
    if list(dilations) == [1, 1]:
        return kernel
    sizes = [(k - 1) * d + 1 for k, d in zip(kernel.shape[:2], dilations, strict=True)]
    spread = np.zeros((*sizes, *kernel.shape[2:]), kernel.dtype)
    spread[:: dilations[0], :: dilations[1]] = kernel
    return spread


def _biased(node: Node, result: tf.Tensor, bias: Operand | None) -> tf.Tensor:
    if bias is None:
        return result
    if node.constant(bias, "the bias").array.shape != (result.shape[3],):
        raise node.refusal(f"expected a bias of {result.shape[3]} channels")
    return tf.nn.bias_add(result, tf.convert_to_tensor(node.tensor(bias)))


@operator("ConvTranspose")
def transposed_convolution(
    node: Node, x: Operand, weight: Operand, bias: Operand | None = None
) -> Value:
    array = node.constant(weight, "the weight").array
    if array.ndim != 4:
        raise node.refusal(f"expected a weight of four axes, got shape {array.shape}")
    image, dilations = node.image(x), node.attribute("dilations", [1, 1])
    _expect_kernel(node, array)
    node.expect_attribute("group", 1)
    strides, extra = _strides(node), node.attribute("output_padding", [0, 0])
    windows, sizes = _windows(node, array.shape[2:], dilations), _sizes(node, image)
    if image.tensor.shape[3] != array.shape[0]:
        raise node.refusal(f"expected {array.shape[0]} channels, got {image.tensor.shape[3]}")
    if len(extra) != 2 or any(not 0 <= e < s for e, s in zip(extra, strides, strict=True)):
        raise node.refusal(f"expected an output_padding from 0 to below the strides, got {extra}")
    full = [(n - 1) * s + w + e for n, s, w, e in zip(sizes, strides, windows, extra, strict=True)]
    pads = _transposed_pads(node, sizes, strides, windows, full)
    out = [size - sum(p) for size, p in zip(full, pads, strict=True)]
    if min(out) < 1:
        raise node.refusal(f"expected an output of one pixel or more, got {out}")
    kernel = node.tensor(
        weight, ("hwoi", *dilations), lambda w: _dilated(w.transpose(2, 3, 1, 0), dilations)
    )
    shape = [tf.shape(image.tensor)[0], *out, array.shape[1]]
    same = _same(out, windows, strides)
    fits = [-(-o // s) for o, s in zip(out, strides, strict=True)] == sizes
    padding = _padding(pads, same) if fits else _padding(pads, [])
    result = tf.nn.conv2d_transpose(image.tensor, kernel, tf.stack(shape), strides, padding)
    return image.like(_biased(node, result, bias))


def _transposed_pads(
    node: Node, sizes: list[int], strides: list[int], windows: list[int], full: list[int]
) -> Pads:
    """What is cut off the full output."""
    auto = node.expect_attribute("auto_pad", "NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER")
    given, out = node.attribute("pads", [0, 0, 0, 0]), node.attribute("output_shape", None)
    _expect_moderate(node, sizes, windows, given)
    if out is None and auto == "NOTSET":
        return [(given[0], given[2]), (given[1], given[3])]
    if out is None and auto == "VALID":
        return [(0, 0), (0, 0)]
    wanted = out or [size * stride for size, stride in zip(sizes, strides, strict=True)]
    totals = [f - w for f, w in zip(full, wanted[-2:], strict=True)]
    if min(totals) < 0:
        raise node.refusal(f"expected an output_shape of at most {full}, got {wanted}")
    halves = [(total // 2, total - total // 2) for total in totals]
    return halves if auto == "SAME_UPPER" else [(behind, before) for before, behind in halves]


# Pools.


@operator("MaxPool", "AveragePool")
def pool(node: Node, x: Operand) -> Value:
    """Pads are put around the images first, so that TensorFlow pools without any."""
    image = node.image(x)
    kernel, strides = node.attribute("kernel_shape", []), _strides(node)
    node.expect_attribute("storage_order", 0)
    node.expect_attribute("dilations", [1, 1])
    ceil, padded_count = node.attribute("ceil_mode", 0), node.attribute("count_include_pad", 0)
    windows, sizes = _windows(node, kernel, [1, 1]), _sizes(node, image)
    pads = _pads(node, sizes, windows, strides)
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
    padding = _padding(pads, _same(sizes, windows, strides))
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
    padding = _padding(pads, _same(list(x.shape[1:3]), windows, strides))
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
    axes = zip(sizes, windows, strides, _same(sizes, windows, strides), strict=True)
    return np.outer(*(_counts(size, w, s, p, 0, 0) for size, w, s, p in axes))


@operator("GlobalAveragePool")
def global_average(node: Node, x: Operand) -> Value:
    image = node.image(x)
    return image.like(tf.reduce_mean(image.tensor, [1, 2], keepdims=True), image.nonnegative)


@operator("GlobalMaxPool")
def global_maximum(node: Node, x: Operand) -> Value:
    image = node.image(x)
    return image.like(tf.reduce_max(image.tensor, [1, 2], keepdims=True), image.nonnegative)


# Resizing.

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
    before, given = _sizes(node, image), sizes or scales
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
