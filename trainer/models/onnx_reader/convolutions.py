"""ONNX's convolutions, on [n, h, w, c]."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from trainer.models.onnx_reader.operations import operator
from trainer.models.onnx_reader.values import Node, Operand, Value
from trainer.models.onnx_reader.windows import (
    Pads,
    expect_moderate,
    height_and_width,
    padding_of,
    pads_of,
    same_pads,
    strides_of,
    windows_of,
)


@operator("Conv")
def convolution(node: Node, x: Operand, weight: Operand, bias: Operand | None = None) -> Value:
    array = node.constant(weight, "the weight").array
    if array.ndim != 4:
        raise node.refusal(f"expected a weight of four axes, got shape {array.shape}")
    image, dilations = node.image(x), node.attribute("dilations", [1, 1])
    _expect_kernel(node, array)
    groups, strides = node.attribute("group", 1), strides_of(node)
    windows, sizes = windows_of(node, array.shape[2:], dilations), height_and_width(node, image)
    pads = pads_of(node, sizes, windows, strides)
    if any(w > size + sum(p) for w, size, p in zip(windows, sizes, pads, strict=True)):
        raise node.refusal(f"expected windows inside of the padded images {sizes}, got {windows}")
    channels, outputs = image.tensor.shape[3], array.shape[0]
    if groups < 1 or channels != array.shape[1] * groups or outputs % groups:
        raise node.refusal(
            f"expected a weight for {channels} channels in {groups} groups, got {array.shape}"
        )
    padding = padding_of(pads, same_pads(sizes, windows, strides))
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
    strides, extra = strides_of(node), node.attribute("output_padding", [0, 0])
    windows, sizes = windows_of(node, array.shape[2:], dilations), height_and_width(node, image)
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
    same = same_pads(out, windows, strides)
    fits = [-(-o // s) for o, s in zip(out, strides, strict=True)] == sizes
    padding = padding_of(pads, same) if fits else padding_of(pads, [])
    result = tf.nn.conv2d_transpose(image.tensor, kernel, tf.stack(shape), strides, padding)
    return image.like(_biased(node, result, bias))


def _transposed_pads(
    node: Node, sizes: list[int], strides: list[int], windows: list[int], full: list[int]
) -> Pads:
    """What is cut off the full output."""
    auto = node.expect_attribute("auto_pad", "NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER")
    given, out = node.attribute("pads", [0, 0, 0, 0]), node.attribute("output_shape", None)
    expect_moderate(node, sizes, windows, given)
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
