"""ONNX files as networks: layouts, numbers of images, weights, and what is refused."""

import ast
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import tensorflow as tf
from onnx import helper, numpy_helper
from onnx_models import graph, node, numbers, reference, saved

from foundation.errors import DataError
from robustness.bounds.trace import trace
from trainer.models.onnx_reader import model as onnx_module
from trainer.models.onnx_reader.model import OnnxModel, read_onnx

SHAPE = ["n", 3, 8, 8]


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def classifier(shape: Sequence[Any] = SHAPE, pooled: bool = True, **settings: Any) -> Any:
    """Convolution, ReLU, pool, convolution, flattened or pooled, dense: logits of 5 classes."""
    size = 1 if pooled else 4
    weights = {
        "k1": numbers(4, shape[1], 3, 3),
        "b1": numbers(4),
        "k2": numbers(6, 4, 3, 3, seed=1),
        "b2": numbers(6, seed=1),
        "k3": numbers(5, 6 * size * size, seed=2),
        "b3": numbers(5, seed=2),
    }
    nodes = [
        node("Conv", "x k1 b1", "a", pads=[1, 1, 1, 1]),
        node("Relu", "a", "b"),
        node("MaxPool", "b", "c", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
        node("Conv", "c k2 b2", "d", pads=[1, 1, 1, 1]),
        node("Relu", "d", "e"),
        node("GlobalAveragePool", "e", "f") if pooled else node("Identity", "e", "f"),
        node("Flatten", "f", "g"),
        node("Gemm", "g k3 b3", "y", transB=1),
    ]
    return graph(nodes, shape, weights, **settings)


def operations(model: OnnxModel, *shape: int) -> list[str]:
    function = tf.function(lambda x: model(x))
    concrete = function.get_concrete_function(tf.TensorSpec([None, *shape], tf.float32))
    return [operation.type for operation in concrete.graph.get_operations()]


def refused(model: Any, folder: Path, **settings: Any) -> str:
    """What reading the model says."""
    with pytest.raises(DataError) as error:
        read_onnx(saved(model, folder), **settings)
    assert str(folder / "model.onnx") in str(error.value)
    return str(error.value)


# What a file tells.


def test_a_file_tells_its_input_and_outputs(tmp_path: Path) -> None:
    model = read_onnx(saved(classifier(), tmp_path))
    assert model.input_name == "x"
    assert model.input_shape == (None, 3, 8, 8)
    assert model.input_dtype == tf.float32
    assert model.output_names == ("y",)


def test_weights_are_variables_in_the_layout_of_tensorflow(tmp_path: Path) -> None:
    model = read_onnx(saved(classifier(), tmp_path))
    shapes = sorted(tuple(variable.shape) for variable in model.variables)
    assert shapes == [(3, 3, 3, 4), (3, 3, 4, 6), (4,), (5,), (6,), (6, 5)]
    x = tf.constant(numbers(2, 3, 8, 8))
    model(x), tf.function(model)(x)
    assert len(model.variables) == 6  # none is made twice
    before = model(x)["y"]
    next(v for v in model.variables if v.shape == (5,)).assign(tf.ones(5))
    assert not np.allclose(model(x)["y"], before)


def test_what_depends_on_weights_alone_is_computed_once(tmp_path: Path) -> None:
    nodes = [
        node("Transpose", "w", "t", perm=[1, 0]),
        node("Mul", "t s", "u"),
        node("MatMul", "x u", "y"),
    ]
    model = graph(nodes, ["n", 4], {"w": numbers(3, 4), "s": np.float32(2)})
    read = read_onnx(saved(model, tmp_path))
    assert operations(read, 4).count("MatMul") == 1
    assert not {"Transpose", "Mul"} & set(operations(read, 4))
    x = numbers(2, 4)
    np.testing.assert_allclose(read(tf.constant(x))["y"], reference(model, x)["y"], 1e-5)


def test_an_image_of_another_shape_is_refused(tmp_path: Path) -> None:
    model = read_onnx(saved(classifier(), tmp_path), channels_last_images=True)
    with pytest.raises(DataError, match=r"expected images of shape \[None, 8, 8, 3\], got \[2, 3"):
        model(tf.zeros([2, 3, 8, 8]))
    with pytest.raises(DataError, match="expected images of float32, got int32"):
        model(tf.zeros([2, 8, 8, 3], tf.int32))


def test_open_sizes_of_images_are_known_when_images_come(tmp_path: Path) -> None:
    made = classifier(["n", 3, "h", "w"])
    model = read_onnx(saved(made, tmp_path))
    assert model.input_shape == (None, 3, None, None)
    for size in (8, 11):
        x = numbers(2, 3, size, size)
        np.testing.assert_allclose(model(tf.constant(x))["y"], reference(made, x)["y"], 1e-4, 1e-5)


@pytest.mark.parametrize("opset", [7, 8, 9, 10, 11, 13, 15, 17, 18, 20, 21, 22, 23, 25])
def test_the_opsets_of_many_years_are_read(opset: int, tmp_path: Path) -> None:
    made = classifier(opset=opset)
    x = numbers(3, 3, 8, 8)
    got = read_onnx(saved(made, tmp_path))(tf.constant(x))["y"]
    np.testing.assert_allclose(got, reference(made, x)["y"], 1e-4, 1e-5)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float16", 0.1), ("float64", 1e-12)])
def test_a_file_runs_in_its_own_precision(dtype: str, tolerance: float, tmp_path: Path) -> None:
    made = classifier(dtype=dtype)
    for index, tensor in enumerate(made.graph.initializer):
        array = numpy_helper.to_array(tensor).astype(dtype)
        made.graph.initializer[index].CopyFrom(numpy_helper.from_array(array, tensor.name))
    x = numbers(3, 3, 8, 8)
    got = read_onnx(saved(made, tmp_path))(tf.constant(x))["y"]
    assert got.dtype == dtype
    expected = reference(made, x.astype(dtype))["y"]
    np.testing.assert_allclose(got, expected, tolerance, tolerance)


def test_images_of_bytes_are_cast_by_the_graph(tmp_path: Path) -> None:
    nodes = [
        node("Cast", "x", "a", to=onnx.TensorProto.FLOAT),
        node("Div", "a s", "b"),
        node("Flatten", "b", "y"),
    ]
    made = graph(nodes, ["n", 1, 2, 2], {"s": np.float32(255)}, dtype="uint8")
    made.graph.output[0].type.tensor_type.elem_type = onnx.TensorProto.FLOAT
    model = read_onnx(saved(made, tmp_path))
    assert model.input_dtype == tf.uint8
    x = np.array([[[[0, 51], [102, 255]]]], np.uint8)
    np.testing.assert_allclose(model(tf.constant(x))["y"], [[0, 0.2, 0.4, 1]], 1e-6)


# Layouts.


@pytest.mark.parametrize("pooled", [True, False], ids=["pooled", "flattened"])
def test_both_layouts_give_the_same(pooled: bool, tmp_path: Path) -> None:
    made = classifier(pooled=pooled)
    first = read_onnx(saved(made, tmp_path))
    last = read_onnx(saved(made, tmp_path), channels_last_images=True)
    for batch in (1, 3, 7):
        x = numbers(batch, 3, 8, 8, seed=batch)
        expected = reference(made, x)["y"]
        np.testing.assert_allclose(first(tf.constant(x))["y"], expected, 1e-4, 1e-4)
        got = last(tf.constant(x.transpose(0, 2, 3, 1)))["y"]
        np.testing.assert_allclose(got, expected, 1e-4, 1e-4)


def test_images_with_channels_last_are_transposed_nowhere(tmp_path: Path) -> None:
    path = saved(classifier(), tmp_path)
    assert "Transpose" not in operations(read_onnx(path, channels_last_images=True), 8, 8, 3)
    assert operations(read_onnx(path), 3, 8, 8).count("Transpose") == 1


def test_the_transpositions_of_a_file_from_keras_vanish(tmp_path: Path) -> None:
    weights = {"k": numbers(4, 3, 3, 3), "s": ints(-1, 4 * 36)}
    nodes = [
        node("Transpose", "x", "a", perm=[0, 3, 1, 2]),
        node("Conv", "a k", "b"),
        node("Transpose", "b", "c", perm=[0, 2, 3, 1]),
        node("Reshape", "c s", "y"),
    ]
    made = graph(nodes, ["n", 8, 8, 3], weights)
    model = read_onnx(saved(made, tmp_path))
    assert "Transpose" not in operations(model, 8, 8, 3)
    x = numbers(3, 8, 8, 3)
    np.testing.assert_allclose(model(tf.constant(x))["y"], reference(made, x)["y"], 1e-5, 1e-5)


def test_channels_last_asks_for_images(tmp_path: Path) -> None:
    made = graph([node("Relu", "x", "y")], ["n", 784])
    message = refused(made, tmp_path, channels_last_images=True)
    assert "expected images [n, c, h, w], got an input of shape [None, 784]" in message


# Bounds.


@pytest.mark.parametrize(
    "made",
    [classifier(), classifier(["n", 1, 8, 8]), classifier(pooled=False)],
    ids=["three channels", "one channel", "flattened"],
)
def test_the_bounds_know_a_network_that_was_read(made: Any, tmp_path: Path) -> None:
    model = read_onnx(saved(made, tmp_path), channels_last_images=True)
    channels = made.graph.input[0].type.tensor_type.shape.dim[1].dim_value
    layers = trace(lambda x, training: model(x, training)["y"], (8, 8, channels))
    kinds = [type(layer).__name__ for layer in layers]
    assert kinds[0] == "Input"
    assert kinds[-2:] == ["Dense", "Shift"]
    assert kinds.count("Convolution") == 2
    assert "MaxPool" in kinds


# Any number of images.


def attention(batch: Any, shapes: Sequence[np.ndarray]) -> Any:
    """Attention of two heads over five places of [n, 5, 8], as PyTorch exports it: the places lie
    before the images, heads beside the images, and all rows together where weights are."""
    rows, apart, heads, together = shapes
    weights = {
        **{name: numbers(8, 8, seed=seed) for seed, name in enumerate(("q", "k", "v", "o"))},
        **{"rows": rows, "apart": apart, "heads": heads, "together": together},
        "root": np.float32(0.5),
    }
    nodes = [node("Transpose", "x", "t", perm=[1, 0, 2]), node("Reshape", "t rows", "r")]
    for name in "qkv":
        nodes += [
            node("Gemm", f"r {name}", f"{name}1"),
            node("Reshape", f"{name}1 apart", f"{name}2"),
            node("Reshape", f"{name}2 heads", f"{name}3"),
            node("Transpose", f"{name}3", f"{name}4", perm=[1, 0, 2]),
        ]
    nodes += [
        node("Transpose", "k4", "k5", perm=[0, 2, 1]),
        node("MatMul", "q4 k5", "s1"),
        node("Mul", "s1 root", "s2"),
        node("Softmax", "s2", "s3", axis=-1),
        node("MatMul", "s3 v4", "a1"),
        node("Transpose", "a1", "a2", perm=[1, 0, 2]),
        node("Reshape", "a2 together", "a3"),
        node("Gemm", "a3 o", "a4"),
        node("Reshape", "a4 apart", "a5"),
        node("Transpose", "a5", "a6", perm=[1, 0, 2]),
        node("ReduceMean", "a6", "y", axes=[1], keepdims=0),
    ]
    return graph(nodes, [batch, 5, 8], weights)


@pytest.mark.parametrize(
    ("batch", "shapes"),
    [
        (1, [ints(5, 8), ints(5, 1, 8), ints(5, 2, 4), ints(5, 8)]),
        ("n", [ints(-1, 8), ints(5, -1, 8), ints(5, -1, 4), ints(-1, 8)]),
    ],
    ids=["one", "open"],
)
def test_attention_over_places_keeps_images_apart(
    batch: Any, shapes: list[np.ndarray], tmp_path: Path
) -> None:
    made = attention(batch, shapes)
    model = read_onnx(saved(made, tmp_path))
    x = numbers(4, 5, 8)
    expected = np.concatenate([reference(made, x[i : i + 1])["y"] for i in range(4)])
    np.testing.assert_allclose(model(tf.constant(x))["y"], expected, 1e-4, 1e-5)
    np.testing.assert_allclose(tf.function(model)(tf.constant(x))["y"], expected, 1e-4, 1e-5)


@pytest.mark.parametrize("batch", ["n", 1, 2], ids=["open", "one", "two"])
def test_sizes_are_computed_from_the_shape(batch: Any, tmp_path: Path) -> None:
    """x.view(x.size(0), -1) of PyTorch."""
    weights = {"zero": np.array(0, np.int64), "rest": ints(-1), "axes": ints(0)}
    nodes = [
        node("Shape", "x", "a"),
        node("Gather", "a zero", "b"),
        node("Unsqueeze", "b axes", "c"),
        node("Concat", "c rest", "d", axis=0),
        node("Reshape", "x d", "y"),
    ]
    made = graph(nodes, [batch, 3, 8, 8], weights)
    for last in (False, True):
        model = read_onnx(saved(made, tmp_path), last)
        concrete = tf.function(lambda x, model=model: model(x)["y"]).get_concrete_function(
            tf.TensorSpec([None, 8, 8, 3] if last else [None, 3, 8, 8])
        )
        assert concrete.output_shapes.as_list() == [None, 192]
        x = numbers(5, 3, 8, 8)
        got = model(tf.constant(x.transpose(0, 2, 3, 1) if last else x))["y"]
        np.testing.assert_array_equal(got, x.reshape(5, -1))


def test_sizes_are_multiplied_and_divided(tmp_path: Path) -> None:
    """Heads beside images: x.view(n * 2, 4) and back, with sizes from the shape."""
    weights = {"zero": ints(0), "two": ints(2), "four": ints(4), "eight": ints(8)}
    nodes = [
        node("Shape", "x", "a"),
        node("Gather", "a zero", "n"),
        node("Mul", "n two", "double"),
        node("Concat", "double four", "heads", axis=0),
        node("Reshape", "x heads", "b"),
        node("Softmax", "b", "c", axis=-1),
        node("Div", "double two", "single"),
        node("Concat", "single eight", "rows", axis=0),
        node("Reshape", "c rows", "y"),
    ]
    made = graph(nodes, ["n", 8], weights)
    x = numbers(3, 8)
    model = tf.function(read_onnx(saved(made, tmp_path)))
    np.testing.assert_allclose(model(tf.constant(x))["y"], reference(made, x)["y"], 1e-5)


@pytest.mark.parametrize("batch", ["n", 1], ids=["open", "one"])
def test_a_constant_is_repeated_for_every_image(batch: Any, tmp_path: Path) -> None:
    """The class token of a vision transformer."""
    weights = {
        "token": numbers(1, 1, 6),
        "start": ints(0),
        "end": ints(1),
        "rest": ints(-1, -1),
        "minus": np.array(-1, np.int64),
    }
    nodes = [
        node("Shape", "x", "s"),
        node("Slice", "s start end", "n"),
        node("Concat", "n rest", "wanted", axis=0),
        node("Shape", "wanted", "rank"),
        node("ConstantOfShape", "rank", "ones", value=numpy_helper.from_array(ints(1))),
        node("Equal", "wanted minus", "kept"),
        node("Where", "kept ones wanted", "shape"),
        node("Expand", "token shape", "tokens"),
        node("Concat", "tokens x", "y", axis=1),
    ]
    made = graph(nodes, [batch, 4, 6], weights)
    model = tf.function(read_onnx(saved(made, tmp_path)))
    x = numbers(3, 4, 6)
    expected = np.concatenate([np.repeat(weights["token"], 3, axis=0), x], axis=1)
    np.testing.assert_array_equal(model(tf.constant(x))["y"], expected)


def test_a_constant_beside_one_image_is_repeated(tmp_path: Path) -> None:
    weights = {"token": numbers(1, 1, 6)}
    made = graph([node("Concat", "token x", "y", axis=1)], [1, 4, 6], weights)
    x = numbers(3, 4, 6)
    got = read_onnx(saved(made, tmp_path))(tf.constant(x))["y"]
    np.testing.assert_array_equal(got[:, 1:], x)
    np.testing.assert_array_equal(got[:, 0], np.repeat(weights["token"][0], 3, axis=0))


MIXED: dict[str, tuple[list[Any], list[Any], dict[str, np.ndarray]]] = {
    "softmax over images": ([node("Softmax", "x", "y", axis=0)], [1, 5], {}),
    "mean over images": ([node("ReduceMean", "x", "y", axes=[0])], ["n", 5], {}),
    "mean over everything": ([node("ReduceMean", "x", "y")], ["n", 5], {}),
    "images transposed": ([node("Transpose", "x", "y", perm=[1, 0])], ["n", 5], {}),
    "the first image": ([node("Gather", "x i", "y")], ["n", 5], {"i": ints(0)}),
    "images reversed": (
        [node("Slice", "x a b c d", "y")],
        ["n", 5],
        {"a": ints(-1), "b": ints(-9), "c": ints(0), "d": ints(-1)},
    ),
    "another constant each": ([node("Add", "x w", "y")], [3, 5], {"w": numbers(3, 5)}),
    "product of images": (
        [node("Transpose", "x", "t", perm=[1, 0]), node("MatMul", "t x", "y")],
        [1, 5],
        {},
    ),
    "rows over images": ([node("Reshape", "x s", "y")], ["n", 5, 4], {"s": ints(5, -1)}),
    "rows over images, turned": (
        [node("Reshape", "x s", "a"), node("Transpose", "a", "y", perm=[1, 0])],
        ["n", 5, 4],
        {"s": ints(5, -1)},
    ),
    "a fixed number": ([node("Reshape", "x s", "y")], ["n", 5, 4], {"s": ints(1, 20)}),
    "squeezed image": ([node("Squeeze", "x", "y")], [1, 5, 1], {}),
    "a constant": ([node("Identity", "w", "y"), node("Relu", "x", "z")], [1, 5], {"w": numbers(5)}),
    "shape as output": ([node("Shape", "x", "y")], ["n", 5], {}),
}


@pytest.mark.parametrize(("nodes", "shape", "weights"), MIXED.values(), ids=MIXED)
def test_whatever_mixes_images_is_refused(
    nodes: list[Any], shape: list[Any], weights: dict[str, np.ndarray], tmp_path: Path
) -> None:
    assert "expected" in refused(graph(nodes, shape, weights), tmp_path)


# Random networks.


def random_network(seed: int) -> tuple[list[Any], dict[str, np.ndarray]]:
    """Nodes from `x` [n, 3, 8, 8] to `y` [n, 4], and their weights."""
    random = np.random.default_rng(seed)
    nodes: list[Any] = []
    weights: dict[str, np.ndarray] = {}
    name, (c, h, w) = "x", (3, 8, 8)

    def weight(*shape: int) -> str:
        weights[f"w{len(weights)}"] = numbers(*shape, seed=seed + len(weights)) / 2
        return f"w{len(weights) - 1}"

    def add(operator: str, inputs: str, **attributes: Any) -> str:
        nodes.append(node(operator, inputs, f"v{len(nodes)}", **attributes))
        return f"v{len(nodes) - 1}"

    for _ in range(random.integers(3, 9)):
        kind = random.choice(
            [
                *("conv", "depthwise", "relu", "scale", "norm", "pool", "average", "residual"),
                *("concat", "turn", "squeeze", "reshape", "upsample", "cut", "pad", "leaky"),
            ]
        )
        if kind == "conv":
            stride, size = int(random.integers(1, 3)), int(random.integers(1, 4))
            out = int(random.integers(1, 5))
            pads = [int(p) for p in random.integers(0, 3, size=4)]
            name = add(
                "Conv",
                f"{name} {weight(out, c, size, size)} {weight(out)}",
                strides=[stride, stride],
                pads=pads,
            )
            h = (h + pads[0] + pads[2] - size) // stride + 1
            w = (w + pads[1] + pads[3] - size) // stride + 1
            c = out
        elif kind == "depthwise":
            kernel = f"{name} {weight(2 * c, 1, 3, 3)}"
            name, c = add("Conv", kernel, group=c, pads=[1, 1, 1, 1]), 2 * c
        elif kind in ("relu", "leaky"):
            name = add("Relu" if kind == "relu" else "LeakyRelu", name)
        elif kind == "scale":
            shape = [(c, 1, 1), (1, c, 1, 1), (1,), (h, w), (c, h, 1)][random.integers(5)]
            name = add(random.choice(["Add", "Mul", "Sub"]), f"{name} {weight(*shape)}")
        elif kind == "norm":
            name = add("InstanceNormalization", f"{name} {weight(c)} {weight(c)}", epsilon=0.1)
        elif kind in ("pool", "average") and min(h, w) > 2:
            operator = "MaxPool" if kind == "pool" else "AveragePool"
            pads = [int(p) for p in random.integers(0, 2, size=4)]
            name = add(operator, name, kernel_shape=[2, 2], strides=[2, 2], pads=pads)
            h, w = (h + pads[0] + pads[2]) // 2, (w + pads[1] + pads[3]) // 2
        elif kind == "residual":
            name = add("Add", f"{name} {add('Tanh', name)}")
        elif kind == "concat":
            name, c = add("Concat", f"{name} {add('Sigmoid', name)}", axis=1), 2 * c
        elif kind == "turn":
            order = [[0, 2, 3, 1], [0, 3, 1, 2], [0, 1, 3, 2]][random.integers(3)]
            name = add("Transpose", name, perm=order)
            c, h, w = ((c, h, w)[axis - 1] for axis in order[1:])
        elif kind == "squeeze":  # and excite
            pooled = add("GlobalAveragePool", name)
            name = add("Mul", f"{name} {add('Sigmoid', pooled)}")
        elif kind == "reshape":
            weights[f"s{len(nodes)}"] = ints(0, h * w, c)
            weights[f"t{len(nodes)}"] = ints(-1, c, h, w)
            flat = f"s{len(nodes)}", f"t{len(nodes)}"
            name = add("Tanh", add("Reshape", f"{name} {flat[0]}"))
            name = add("Reshape", f"{name} {flat[1]}")
        elif kind == "upsample" and max(h, w) < 12:
            weights[f"s{len(nodes)}"] = np.array([1, 1, 2, 2], np.float32)
            name, h, w = add("Resize", f"{name} - s{len(nodes)}", mode="linear"), 2 * h, 2 * w
        elif kind == "cut" and c > 1:
            cuts = {"a": ints(1), "b": ints(c), "d": ints(1)}
            weights |= {f"{key}{len(nodes)}": value for key, value in cuts.items()}
            inputs = " ".join(f"{key}{len(nodes)}" for key in cuts)
            name, c = add("Slice", f"{name} {inputs}"), c - 1
        elif kind == "pad":
            weights[f"p{len(nodes)}"] = ints(0, 0, 1, 0, 0, 0, 0, 2)
            name, h, w = add("Pad", f"{name} p{len(nodes)}"), h + 1, w + 2
    flat = add("Flatten", name)
    nodes.append(node("Gemm", f"{flat} {weight(4, c * h * w)} {weight(4)}", "y", transB=1))
    return nodes, weights


@pytest.mark.parametrize("seed", range(20))
def test_random_networks_answer_as_the_reference_does(seed: int, tmp_path: Path) -> None:
    nodes, weights = random_network(seed)
    made = graph(nodes, SHAPE, weights)
    models = [
        tf.function(
            read_onnx(saved(made, tmp_path), last),
            input_signature=[tf.TensorSpec([None, 8, 8, 3] if last else [None, 3, 8, 8])],
        )
        for last in (False, True)
    ]
    fixed = graph(nodes, [1, *SHAPE[1:]], weights)
    for batch in (1, 3, 7):
        x = numbers(batch, 3, 8, 8, seed=batch)
        expected = reference(made, x)["y"]
        tolerance = 1e-4 * max(1.0, np.abs(expected).max())
        for last, model in enumerate(models):
            images = tf.constant(x.transpose(0, 2, 3, 1) if last else x)
            with tf.GradientTape() as tape:
                tape.watch(images)
                got = model(images)["y"]
            np.testing.assert_allclose(got, expected, 0, tolerance)
            assert np.isfinite(tape.gradient(got, images)).all()
    got = read_onnx(saved(fixed, tmp_path))(tf.constant(x))["y"]
    np.testing.assert_allclose(got, expected, 0, tolerance)


# What is refused.


def subgraph() -> Any:
    inner = helper.make_graph([node("Identity", "x", "z")], "inner", [], [])
    return node("If", "c", "y", then_branch=inner, else_branch=inner)


def one(operator: str, inputs: str = "x", **attributes: Any) -> list[Any]:
    return [node(operator, inputs, "y", **attributes)]


KERNEL = {"w": numbers(4, 3, 3, 3), "v": numbers(4)}
IMAGES = ["n", 3, 8, 8]
REFUSED: dict[str, tuple[Any, str]] = {
    "unknown operator": (graph(one("Det"), IMAGES), "Det (node 'Det_of_y')"),
    "another domain": (
        graph(one("FusedConv", domain="com.microsoft"), IMAGES),
        "expected operators that are known here, got one of com.microsoft",
    ),
    "quantised": (
        graph(one("QuantizeLinear", "x s"), IMAGES, {"s": np.float32(1)}),
        "QuantizeLinear (node 'QuantizeLinear_of_y'): expected a network of floating point",
    ),
    "control flow": (
        graph([subgraph()], IMAGES, {"c": np.array(True)}),
        "expected a network without control flow, got If (node 'If_of_y')",
    ),
    "opset 6": (graph(one("Relu"), IMAGES, opset=6), "expected opset 7 to 25, got 6"),
    "opset 99": (graph(one("Relu"), IMAGES, opset=99), "expected opset 7 to 25, got 99"),
    "one dimension": (
        graph(one("Conv", "x w"), ["n", 3, 8], {"w": numbers(4, 3, 3)}),
        "expected a weight of four axes, got shape (4, 3, 3)",
    ),
    "channels do not fit": (
        graph(one("Conv", "x w"), ["n", 2, 8, 8], KERNEL),
        "expected a weight for 2 channels in 1 groups, got (4, 3, 3, 3)",
    ),
    "kernel_shape does not fit": (
        graph(one("Conv", "x w", kernel_shape=[5, 5]), IMAGES, KERNEL),
        "expected the kernel_shape of its weight, [3, 3]",
    ),
    "kernel larger than images": (
        graph(one("Conv", "x w"), ["n", 3, 2, 2], KERNEL),
        "expected windows inside of the padded images [2, 2], got [3, 3]",
    ),
    "attribute": (
        graph(one("Relu", slope=3.0), IMAGES),
        "expected attributes that are known here, got slope",
    ),
    "matrices do not fit": (
        graph(one("Gemm", "x w"), ["n", 5], {"w": numbers(4, 3)}),
        "Gemm (node 'Gemm_of_y'): its operands do not fit",
    ),
    "transposed images": (
        graph(one("Gemm", "x w", transA=1), ["n", 5], {"w": numbers(5, 3)}),
        "expected the attribute transA to be 0, got 1",
    ),
    "training": (
        graph(one("BatchNormalization", "x v v v v", training_mode=1), ["n", 4], KERNEL),
        "expected the attribute training_mode to be 0, got 1",
    ),
    "statistics as outputs": (
        graph([node("BatchNormalization", "x v v v v", "y m s")], ["n", 4, 8, 8], KERNEL, opset=9),
        "exported for inference (model.eval())",
    ),
    "dropout in training": (
        graph(one("Dropout", "x r t"), ["n", 4], {"r": np.float32(0.5), "t": np.array(True)}),
        "exported for inference (model.eval())",
    ),
    "indices of a pool": (
        graph([node("MaxPool", "x", "z i", kernel_shape=[2, 2]), node("Relu", "i", "y")], IMAGES),
        "expected 'i' to be computed before it, got nothing",
    ),
    "dilated pool": (
        graph(one("MaxPool", kernel_shape=[2, 2], dilations=[2, 2]), IMAGES),
        "expected the attribute dilations to be [1, 1], got [2, 2]",
    ),
    "cubic": (
        graph(one("Resize", "x - s", mode="cubic"), IMAGES, {"s": np.ones(4, np.float32)}),
        "expected the attribute mode to be 'nearest' or 'linear', got 'cubic'",
    ),
    "cropped": (
        graph(
            one("Resize", "x - s", coordinate_transformation_mode="tf_crop_and_resize"),
            IMAGES,
            {"s": np.ones(4, np.float32)},
        ),
        "got 'tf_crop_and_resize'",
    ),
    "scales that lead nowhere": (
        graph(one("Resize", "x - s", mode="linear"), IMAGES, {"s": np.float32([1, 1, 1.3, 1.3])}),
        "expected scales that lead to whole sizes",
    ),
    "edge": (
        graph(one("Pad", "x p", mode="edge"), IMAGES, {"p": ints(0, 0, 1, 1, 0, 0, 1, 1)}),
        "expected the attribute mode to be 'constant' or 'reflect', got 'edge'",
    ),
    "negative pads": (
        graph(one("Pad", "x p"), IMAGES, {"p": ints(0, 0, -1, 0, 0, 0, 0, 0)}),
        "expected two pads from 0 on for each axis",
    ),
    "no weight": (graph(one("Conv", "x x"), IMAGES), "expected the weight to be a constant"),
    "missing operand": (graph(one("Add", "x z"), IMAGES), "expected 'z' to be computed before"),
    "twice": (
        graph([*one("Relu"), *one("Tanh")], IMAGES),
        "expected every value to be computed once, got 'y' twice",
    ),
    "too many operands": (graph(one("Relu", "x x"), IMAGES), "its operands do not fit"),
    "no image": (graph(one("Relu"), []), "expected images [n, c, h, w], got an input of shape []"),
    "no operands": (graph([node("Relu", "", "y")], IMAGES), "expected operands, got none"),
}


@pytest.mark.parametrize(("model", "message"), REFUSED.values(), ids=REFUSED)
def test_what_is_not_known_is_refused_by_name(model: Any, message: str, tmp_path: Path) -> None:
    assert message in refused(model, tmp_path)


BILLION = ints(1 << 30, 1 << 30)
HUGE: dict[str, tuple[list[Any], dict[str, np.ndarray]]] = {
    "filled": ([node("ConstantOfShape", "s", "h")], {"s": BILLION}),
    "expanded": ([node("Expand", "v s", "h")], {"v": np.float32([[1]]), "s": BILLION}),
    "padded": ([node("Pad", "v s", "h")], {"v": np.float32([1]), "s": BILLION}),
    "product": (
        [node("MatMul", "v w", "h")],
        {"v": np.ones([1 << 15, 1], np.float32), "w": np.ones([1, 1 << 15], np.float32)},
    ),
    "gathered": (
        [node("Gather", "v w", "h")],
        {"v": np.ones([1, 1 << 15], np.float32), "w": np.zeros(1 << 15, np.int64)},
    ),
}


@pytest.mark.parametrize(("nodes", "weights"), HUGE.values(), ids=HUGE)
def test_a_small_file_makes_no_huge_constant(
    nodes: list[Any], weights: dict[str, np.ndarray], tmp_path: Path
) -> None:
    made = graph([*nodes, node("Add", "x h", "y")], ["n", 4], weights)
    message = refused(made, tmp_path)
    assert "at most" in message or "expected pads of the size of the images" in message


@pytest.mark.parametrize(
    "nodes",
    [
        one("Conv", "x w", dilations=[1 << 30, 1 << 30], pads=[1 << 31] * 4),
        one("AveragePool", kernel_shape=[1 << 30, 1 << 30], pads=[(1 << 30) - 1] * 4),
        one("Resize", "x - - s", mode="nearest"),
        one("Pad", "x p"),
    ],
    ids=["dilations", "pads", "sizes", "padding"],
)
def test_no_number_in_a_file_makes_huge_images(nodes: list[Any], tmp_path: Path) -> None:
    pads = ints(0, 0, 1 << 40, 0, 0, 0, 0, 0)
    weights = {"w": numbers(4, 3, 3, 3), "s": ints(1, 3, 1 << 40, 1 << 40), "p": pads}
    assert "expected" in refused(graph(nodes, IMAGES, weights), tmp_path)


def test_more_than_one_input_is_refused(tmp_path: Path) -> None:
    made = graph(one("Add", "x z"), IMAGES)
    made.graph.input.append(helper.make_tensor_value_info("z", 1, IMAGES))
    assert "expected one input, the images, got x, z" in refused(made, tmp_path)
    made = graph(one("Relu"), IMAGES)
    del made.graph.input[:]
    assert "expected one input, the images, got none" in refused(made, tmp_path)


def test_weights_may_be_named_among_the_inputs(tmp_path: Path) -> None:
    made = classifier()
    for tensor in made.graph.initializer:
        value = helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
        made.graph.input.append(value)
    assert read_onnx(saved(made, tmp_path)).input_name == "x"


# Damaged files.


def test_a_file_that_is_cut_off_is_refused(tmp_path: Path) -> None:
    whole = classifier().SerializeToString()
    path = tmp_path / "model.onnx"
    for length in [*range(64), *range(64, len(whole), 97), len(whole) - 1]:
        path.write_bytes(whole[:length])
        with pytest.raises(DataError, match="expected"):
            read_onnx(path)


def test_other_files_are_refused(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    path = tmp_path / "model.onnx"
    png = tf.io.encode_png(np.zeros([4, 4, 3], np.uint8)).numpy()
    contents = [b"", b"\0" * 4096, b"PK\3\4" + b"\0" * 64, b"\x89HDF\r\n\x1a\n", png, b"text\n"]
    contents += [random.bytes(int(size)) for size in random.integers(1, 4096, size=40)]
    for content in contents:
        path.write_bytes(content)
        with pytest.raises(DataError, match="expected"):
            read_onnx(path)
    with pytest.raises(DataError, match="expected a file that can be read"):
        read_onnx(tmp_path)
    with pytest.raises(DataError, match="expected a file that can be read"):
        read_onnx(tmp_path / "none.onnx")


def test_flipped_bytes_give_a_model_or_a_refusal(tmp_path: Path) -> None:
    whole = classifier().SerializeToString()
    random = np.random.default_rng(1)
    path = tmp_path / "model.onnx"
    outcomes = set()
    for _ in range(60):
        damaged = bytearray(whole)
        for place in random.integers(0, len(whole), size=random.integers(1, 4)):
            damaged[place] = random.integers(256)
        path.write_bytes(damaged)
        try:
            read_onnx(path)
            outcomes.add("model")
        except DataError:
            outcomes.add("refusal")
    assert outcomes == {"model", "refusal"}


def test_weights_must_be_as_many_as_their_shape_says(tmp_path: Path) -> None:
    for dims in ([4, 3, 3, 4], [-1], [1 << 40]):
        made = graph(one("Conv", "x w"), IMAGES, KERNEL)
        made.graph.initializer[0].dims[:] = dims
        assert "expected" in refused(made, tmp_path)


# Weights in files of their own.


def external(folder: Path, location: str = "model.data", length: int | None = None) -> Path:
    """The classifier with its weights in another file."""
    made = classifier()
    data = b""
    for tensor in made.graph.initializer:
        raw = tensor.raw_data
        tensor.ClearField("raw_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
        entries = {"location": location, "offset": len(data), "length": len(raw)}
        for key, value in entries.items():
            tensor.external_data.add(key=key, value=str(value))
        data += raw
    (folder / "model.data").write_bytes(data[:length])
    return saved(made, folder)


def test_weights_beside_the_model_are_read(tmp_path: Path) -> None:
    model = read_onnx(external(tmp_path))
    x = numbers(2, 3, 8, 8)
    expected = reference(classifier(), x)["y"]
    np.testing.assert_allclose(model(tf.constant(x))["y"], expected, 1e-5, 1e-5)


@pytest.mark.parametrize("location", ["../model.data", "/etc/passwd", "link", "deeper/../../x"])
def test_weights_elsewhere_are_not_read(location: str, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (tmp_path / "model.data").write_bytes(b"secret")
    os.symlink(tmp_path / "model.data", folder / "link")
    with pytest.raises(DataError, match="expected the weights 'k1' in the folder of the model"):
        read_onnx(external(folder, location))


def test_weights_that_are_missing_or_cut_off_are_named(tmp_path: Path) -> None:
    path = external(tmp_path, length=100)
    with pytest.raises(DataError, match=r"expected 432 bytes in 'model.data', got 100"):
        read_onnx(path)
    (tmp_path / "model.data").unlink()
    with pytest.raises(DataError, match=r"expected the file 'model.data' with the weights beside"):
        read_onnx(path)


def test_the_same_bytes_are_not_read_again_and_again(tmp_path: Path) -> None:
    (tmp_path / "model.data").write_bytes(bytes(1 << 12))
    made = classifier()
    for index in range(8):
        tensor = made.graph.initializer.add(name=f"more{index}", data_type=1, dims=[1 << 10])
        tensor.data_location = onnx.TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value="model.data")
    assert "expected every weight to have bytes of its own" in refused(made, tmp_path)


# Functions.


def with_functions(bodies: dict[str, list[Any]]) -> Any:
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    functions = [
        helper.make_function("own", name, ["x"], ["y"], nodes, opsets[:2])
        for name, nodes in bodies.items()
    ]
    called = node("f0", "x", "y", domain="own")
    return graph([called], ["n", 4], functions=functions, opset_imports=opsets)


def test_functions_of_a_file_are_put_in_place(tmp_path: Path) -> None:
    made = with_functions({"f0": [node("Relu", "x", "a"), node("Neg", "a", "y")]})
    x = numbers(2, 4)
    got = read_onnx(saved(made, tmp_path))(tf.constant(x))["y"]
    np.testing.assert_array_equal(got, -np.maximum(x, 0))


def test_functions_that_never_end_or_explode_are_refused(tmp_path: Path) -> None:
    endless = {
        "f0": [node("f1", "x", "y", domain="own")],
        "f1": [node("f0", "x", "y", domain="own")],
    }
    assert "expected functions that end" in refused(with_functions(endless), tmp_path)
    explosive = {
        f"f{i}": [node(f"f{i + 1}", f"{'x' if j == 0 else f'v{j}'}", "y" if j == 9 else f"v{j + 1}",
                       domain="own") for j in range(10)]
        for i in range(12)
    }  # fmt: skip
    explosive["f12"] = [node("Relu", "x", "y")]
    assert "100000 nodes" in refused(with_functions(explosive), tmp_path)


# The package onnx.


def test_without_the_package_onnx_the_message_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = saved(classifier(), tmp_path)
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(DataError, match=r"pip install 'gauntlet-tfx\[onnx\]'"):
        read_onnx(path)


def test_the_modules_import_the_package_onnx_where_they_need_it_only() -> None:
    for file in Path(onnx_module.__file__).parent.glob("*.py"):
        for statement in ast.parse(file.read_text()).body:
            if isinstance(statement, ast.Import | ast.ImportFrom):
                names = [getattr(statement, "module", None), *(a.name for a in statement.names)]
                assert "onnx" not in [name.split(".")[0] for name in names if name]
