"""ONNX's sums of products."""

from dataclasses import replace

import numpy as np
import tensorflow as tf

from trainer.models.onnx_reader.operations import aligned, expect_no_images, only_value, operator
from trainer.models.onnx_reader.values import Images, Node, Operand, Value


@operator("Gemm")
def gemm(node: Node, x: Operand, weight: Operand, bias: Operand | None = None) -> Value:
    alpha, beta = node.attribute("alpha", 1.0), node.attribute("beta", 1.0)
    turned = node.attribute("transB", 0)
    node.expect_attribute("transA", 0)
    rows = only_value(node, x)
    array = node.constant(weight, "the weight").array
    if rows.rank != 2 or array.ndim != 2:
        raise node.refusal(f"expected two matrices, got {rows.shape} and {array.shape}")
    _expect_rows(node, rows)
    kernel = node.tensor(
        weight, ("rows", turned, alpha), lambda w: _scaled(w.T if turned else w, alpha)
    )
    result = tf.matmul(rows.in_onnx_order(), kernel)
    if bias is None:
        return Value(result, rows.images)
    given = node.constant(bias, "the bias")
    offset = given.derived(_scaled(given.array, beta), "times", beta)
    if offset.array.shape[-1:] == (result.shape[-1],) and offset.array.size == result.shape[-1]:
        row = node.tensor(offset, "row", lambda b: b.reshape(-1))
        return Value(tf.nn.bias_add(result, tf.convert_to_tensor(row)), rows.images)
    tensors, value = aligned(node, [Value(result, rows.images), offset])
    return value(tf.add(*tensors))


def _scaled(array: np.ndarray, factor: float) -> np.ndarray:
    return array if factor == 1.0 else (array * factor).astype(array.dtype)


def _expect_rows(node: Node, rows: Value) -> None:
    if rows.images is not None and rows.images.axis == rows.rank - 1:
        raise node.refusal("expected every image to be computed by itself, got a sum over images")


@operator("MatMul")
def matmul(node: Node, x: Operand, y: Operand) -> Value:
    ranks = [o.rank if isinstance(o, Value) else o.array.ndim for o in (x, y)]
    if min(ranks) < 2:
        raise node.refusal(f"expected operands of two axes or more, got {ranks[0]} and {ranks[1]}")
    rank = max(ranks)
    images: Images | None = None
    for operand, own_rank, summed in ((x, ranks[0], 1), (y, ranks[1], 2)):
        if not isinstance(operand, Value) or operand.images is None:
            continue
        own = replace(operand.images, axis=operand.images.axis + rank - own_rank)
        if own.axis == rank - summed:
            raise node.refusal("expected every image to be computed by itself, got a sum over them")
        if images is not None and (images != own or own.axis >= rank - 2):
            raise node.refusal("expected the images of both operands along the same axis")
        images = own
    if images is not None and images.axis < rank - 2:
        expect_no_images(node, [x, y], rank, images)
    return Value(tf.matmul(node.tensor(x), node.tensor(y)), images)
