"""Every operator beside the reference of the package onnx, for any number of images."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx_models
import pytest
import tensorflow as tf

from trainer.models.onnx_reader.model import read_onnx


@dataclass
class Case:
    """One operator on `x`; the other operands are weights."""

    operator: str
    shape: tuple[int, ...]
    operands: list[Any] = field(default_factory=list)
    opset: int = 17
    dtype: str = "float32"
    outputs: int = 1
    tolerance: float = 1e-5
    attributes: dict[str, Any] = field(default_factory=dict)

    def model(self, batch: int | str = "n") -> Any:
        weights = {f"w{i}": w for i, w in enumerate(self.operands) if isinstance(w, np.ndarray)}
        names = [o if isinstance(o, str) else f"w{i}" for i, o in enumerate(self.operands)]
        inputs = names if "x" in names else ["x", *names]
        outputs = ["y", *(f"y{i}" for i in range(1, self.outputs))]
        node = onnx_models.node(
            self.operator, " ".join(inputs), " ".join(outputs), **self.attributes
        )
        shape = [batch, *self.shape]
        return onnx_models.graph([node], shape, weights, self.opset, outputs, self.dtype)


def case(operator: str, shape: tuple[int, ...], *operands: Any, **settings: Any) -> Any:
    """A case; what is no field of `Case` is an attribute of the operator."""
    own = {k: settings.pop(k) for k in ("opset", "dtype", "outputs", "tolerance") if k in settings}
    made = Case(operator, shape, list(operands), attributes=settings, **own)
    words = [f"{k}={v}" for k, v in {**own, **settings}.items() if not isinstance(v, np.ndarray)]
    shapes = [str(o.shape) if isinstance(o, np.ndarray) else o for o in operands]
    return pytest.param(made, id=" ".join([operator, str(shape), *shapes, *words]))


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def floats(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


def scalar(value: float, dtype: str = "float32") -> np.ndarray:
    return np.array(value, dtype)


W = onnx_models.numbers
SQUARE, WIDE = (4, 8, 8), (4, 9, 6)

CONVOLUTIONS = [
    case("Conv", SQUARE, W(6, 4, 3, 3)),
    case("Conv", SQUARE, W(6, 4, 3, 3), W(6)),
    case("Conv", SQUARE, W(6, 4, 3, 3), pads=[1, 1, 1, 1]),
    case("Conv", SQUARE, W(6, 4, 3, 3), pads=[1, 1, 1, 1], strides=[2, 2]),
    case("Conv", WIDE, W(6, 4, 3, 2), pads=[2, 0, 1, 3], strides=[1, 2]),
    case("Conv", WIDE, W(6, 4, 3, 5), auto_pad="SAME_UPPER", strides=[2, 2]),
    case("Conv", WIDE, W(6, 4, 2, 4), auto_pad="SAME_LOWER", strides=[1, 1]),
    case("Conv", WIDE, W(6, 4, 2, 4), auto_pad="SAME_LOWER", strides=[2, 2]),
    case("Conv", WIDE, W(6, 4, 3, 3), auto_pad="VALID"),
    case("Conv", WIDE, W(6, 4, 3, 3), dilations=[2, 1], pads=[2, 1, 2, 1], kernel_shape=[3, 3]),
    case("Conv", SQUARE, W(6, 2, 3, 3), W(6), group=2, pads=[1, 1, 1, 1]),
    case("Conv", SQUARE, W(4, 1, 3, 3), W(4), group=4, pads=[1, 1, 1, 1]),
    case("Conv", SQUARE, W(8, 1, 3, 3), group=4, strides=[2, 2], pads=[0, 1, 1, 0]),
    case("Conv", SQUARE, W(8, 1, 3, 3), group=4, dilations=[2, 2]),
    case("Conv", SQUARE, W(8, 1, 3, 3), group=4, strides=[1, 2]),
    case("Conv", SQUARE, W(6, 4, 1, 1), pads=[1, 1, 1, 1]),
    case("Conv", SQUARE, W(6, 4, 3, 3), opset=9),
    case("Conv", SQUARE, W(6, 4, 3, 3, dtype="float64"), dtype="float64", tolerance=1e-12),
    case("Conv", SQUARE, W(6, 4, 3, 3, dtype="float16"), dtype="float16", tolerance=0.05),
    case("ConvTranspose", SQUARE, W(4, 6, 3, 3)),
    case("ConvTranspose", SQUARE, W(4, 6, 3, 3), W(6), strides=[2, 2], pads=[1, 1, 1, 1]),
    case("ConvTranspose", SQUARE, W(4, 6, 4, 4), strides=[2, 2], pads=[1, 1, 1, 1]),
    case("ConvTranspose", WIDE, W(4, 6, 3, 2), strides=[2, 3], output_padding=[1, 2]),
    case(
        "ConvTranspose",
        SQUARE,
        W(4, 6, 3, 3),
        strides=[2, 2],
        pads=[1, 0, 1, 2],
        output_padding=[1, 1],
    ),
    case("ConvTranspose", SQUARE, W(4, 6, 3, 3), dilations=[2, 2], pads=[1, 1, 1, 1]),
    case("ConvTranspose", SQUARE, W(4, 6, 3, 3), strides=[2, 2], auto_pad="SAME_UPPER"),
]

POOLS = [
    case("MaxPool", SQUARE, kernel_shape=[2, 2], strides=[2, 2]),
    case("MaxPool", SQUARE, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
    case("MaxPool", WIDE, kernel_shape=[3, 2], pads=[2, 0, 1, 1], strides=[1, 2]),
    case("MaxPool", WIDE, kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1),
    case("MaxPool", SQUARE, kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1),
    case("MaxPool", WIDE, kernel_shape=[2, 3], strides=[2, 2], auto_pad="SAME_UPPER"),
    case("MaxPool", SQUARE, kernel_shape=[2, 2], opset=8),
    case("AveragePool", SQUARE, kernel_shape=[2, 2], strides=[2, 2]),
    case("AveragePool", SQUARE, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
    case("AveragePool", SQUARE, kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
    case("AveragePool", SQUARE, kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1),
    case("AveragePool", WIDE, kernel_shape=[3, 2], pads=[0, 1, 2, 0], strides=[2, 1]),
    case("AveragePool", WIDE, kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1, opset=19),
    case("AveragePool", WIDE, kernel_shape=[2, 3], strides=[2, 2], auto_pad="SAME_UPPER"),
    case("AveragePool", SQUARE, kernel_shape=[2, 2], opset=7),
    case("GlobalAveragePool", WIDE),
    case("GlobalMaxPool", WIDE),
]

ACTIVATIONS = [
    *(case(name, SQUARE) for name in ("Relu", "LeakyRelu", "Elu", "Selu", "Celu", "Sigmoid")),
    *(case(name, (5,)) for name in ("Tanh", "Softplus", "Softsign", "HardSigmoid", "HardSwish")),
    *(case(name, (5,)) for name in ("Erf", "Exp", "Neg", "Abs", "Identity", "Reciprocal")),
    case("Mish", (5,), opset=18),
    case("LeakyRelu", SQUARE, alpha=0.3),
    case("Elu", (5,), alpha=2.5),
    case("Selu", (5,), alpha=1.5, gamma=2.0),
    case("Celu", (5,), alpha=0.5),
    case("HardSigmoid", (5,), alpha=1 / 6, beta=0.5),
    case("Gelu", (5,), opset=20),
    case("Gelu", (5,), opset=20, approximate="tanh"),
    case("PRelu", SQUARE, W(4, 1, 1)),
    case("PRelu", SQUARE, W(1)),
    case("PRelu", SQUARE, W(4, 1, 1, dtype="float64"), dtype="float64", tolerance=1e-12),
    case("Clip", SQUARE, opset=9, min=-0.5, max=0.25),
    case("Clip", SQUARE, opset=9, min=0.0, max=6.0),
    case("Clip", SQUARE, opset=9, max=0.5),
    case("Clip", SQUARE, scalar(-0.5), scalar(0.25), opset=11),
    case("Clip", SQUARE, scalar(0.0), opset=13),
    case("Clip", SQUARE, "-", scalar(0.25), opset=13),
    case("Dropout", SQUARE, opset=7),
    case("Dropout", SQUARE, scalar(0.3), opset=13),
    case("Dropout", SQUARE, scalar(0.3), np.array(False), opset=13),
    case("Pow", (5,), scalar(2.0)),
    case("Pow", (5,), np.array(3, np.int64), opset=13),
    case("Softmax", (4, 3, 5), opset=11, axis=-1),
    case("Softmax", (4, 3, 5), opset=13),
    case("Softmax", (4, 3, 5), opset=13, axis=1),
    case("LogSoftmax", (7,), opset=13),
]

ARITHMETIC = [
    *(case(name, SQUARE, W(4, 1, 1)) for name in ("Add", "Sub", "Mul", "Div", "Max", "Min")),
    case("Sub", SQUARE, W(1, 4, 1, 1), "x"),
    case("Div", SQUARE, scalar(3.0), "x", tolerance=1e-3),
    case("Add", SQUARE, W(8, 8)),
    case("Add", SQUARE, W(4, 8, 1)),
    case("Add", (5,), scalar(2.0)),
    case("Add", (5,), "x", "x"),
    case("Max", SQUARE, W(4, 1, 1), scalar(0.1)),
    case("Sum", SQUARE, W(4, 1, 1), "x", W(8)),
    case("Add", SQUARE, W(4, 1, 1, dtype="float64"), dtype="float64"),
    case("MatMul", (5,), W(5, 3)),
    case("MatMul", (6, 5), W(5, 3)),
    case("MatMul", (6, 5), W(2, 6), "x"),
    case("MatMul", (2, 6, 5), W(2, 5, 3)),
    case("Gemm", (5,), W(5, 3), W(3)),
    case("Gemm", (5,), W(3, 5), W(3), transB=1),
    case("Gemm", (5,), W(3, 5), W(1, 3), transB=1, alpha=0.5, beta=2.0),
    case("Gemm", (5,), W(5, 3), scalar(2.0), beta=0.5),
    case("Gemm", (5,), W(5, 3), opset=11),
]

NORMALISATIONS = [
    *(
        case("BatchNormalization", SQUARE, W(4), W(4, seed=1), W(4, seed=2), abs(W(4)), opset=o)
        for o in (14, 15)
    ),
    case("BatchNormalization", (4,), W(4), W(4, seed=1), W(4, seed=2), abs(W(4)), epsilon=0.1),
    case(
        "BatchNormalization",
        SQUARE,
        *(abs(W(4, dtype="float64")) for _ in range(4)),
        dtype="float64",
        tolerance=1e-12,
    ),
    case("InstanceNormalization", SQUARE, W(4), W(4, seed=1)),
    case("InstanceNormalization", (4, 9), W(4), W(4, seed=1), epsilon=0.1),
    case("LayerNormalization", (4, 6), W(6), W(6, seed=1)),
    case("LayerNormalization", SQUARE, W(4, 8, 8), axis=1),
    case("GroupNormalization", SQUARE, W(4), W(4, seed=1), opset=21, num_groups=2),
    *(case(name, SQUARE, axes=[2, 3]) for name in ("ReduceMean", "ReduceMax", "ReduceSum")
      if name != "ReduceSum"),
    case("ReduceMean", SQUARE, axes=[-1, -2], keepdims=0),
    case("ReduceMean", SQUARE, axes=[2], keepdims=0),
    case("ReduceMax", SQUARE, axes=[1], keepdims=0),
    case("ReduceMean", SQUARE, ints(2, 3), opset=18),
    case("ReduceMax", SQUARE, ints(1, 3), opset=18, keepdims=0),
    case("ReduceSum", SQUARE, ints(2, 3), opset=13),
    case("ReduceSum", SQUARE, opset=11, axes=[2, 3]),
    case("ReduceSum", SQUARE, opset=13, noop_with_empty_axes=1),
    case("ReduceL2", SQUARE, axes=[1]),
]  # fmt: skip

SHAPES = [
    case("Flatten", SQUARE),
    case("Flatten", (4, 1, 1)),
    case("Flatten", (1, 8, 8), axis=-3),
    case("Reshape", SQUARE, ints(-1, 256)),
    case("Reshape", SQUARE, ints(0, -1)),
    case("Reshape", SQUARE, ints(0, 0, 64)),
    case("Reshape", SQUARE, ints(0, 2, 2, 64)),
    case("Reshape", SQUARE, ints(-1, 2, 2, 64)),
    case("Squeeze", (4, 1, 1), opset=11, axes=[2, 3]),
    case("Squeeze", (4, 1, 1), ints(-1, -2), opset=13),
    case("Unsqueeze", (8, 8), opset=11, axes=[1]),
    case("Unsqueeze", (8, 8), ints(1, -1), opset=13),
    case("Transpose", SQUARE, perm=[0, 2, 3, 1]),
    case("Transpose", SQUARE, perm=[0, 3, 1, 2]),
    case("Transpose", SQUARE, perm=[0, 1, 3, 2]),
    case("Transpose", (4, 6), perm=[0, 2, 1]),
    case("Concat", SQUARE, "x", "x", axis=1),
    case("Concat", SQUARE, "x", "x", axis=-1),
    case("Split", SQUARE, opset=11, axis=1, split=[1, 3], outputs=2),
    case("Split", SQUARE, ints(3, 1), opset=13, axis=1, outputs=2),
    case("Split", SQUARE, opset=13, axis=2, outputs=2),
    case("Split", WIDE, opset=18, axis=2, outputs=2, num_outputs=2),
    case("Slice", SQUARE, opset=9, starts=[1, 2], ends=[3, -1], axes=[1, 2]),
    case("Slice", SQUARE, ints(1, -5), ints(1 << 62, -1), ints(2, 3)),
    case("Slice", SQUARE, ints(7, 0), ints(-1 << 62, 8), ints(3, 1), ints(-2, 3)),
    case("Slice", SQUARE, ints(0, 1), ints((1 << 63) - 1, 3)),
    case("Gather", SQUARE, ints(2, 0, -1), axis=1),
    case("Gather", SQUARE, np.array(1, np.int64), axis=1),
    case("Gather", (6, 5), np.array(0, np.int64), axis=1),
    case("Gather", (6, 5), np.array([[0, 1]], np.int64), axis=2),
    case("Pad", SQUARE, opset=9, pads=[0, 0, 1, 2, 0, 0, 3, 4]),
    case("Pad", SQUARE, ints(0, 1, 1, 2, 0, 0, 3, 4), scalar(0.5), opset=11),
    case("Pad", SQUARE, ints(0, 0, 1, 2, 0, 0, 3, 4), opset=13, mode="reflect"),
    case("Pad", SQUARE, ints(1, 2, 3, 4), "-", ints(2, 3), opset=18),
    case("Expand", (4, 1, 1), ints(1, 4, 8, 8)),
    case("Where", SQUARE, W(4, 1, 1) > 0, "x", W(8)),
]


def resize(shape: tuple[int, ...], *operands: Any, **attributes: Any) -> Any:
    return case("Resize", shape, *operands, **attributes)


RESIZES = [
    case("Upsample", SQUARE, floats(1, 1, 2, 2), opset=9),
    resize(SQUARE, "-", floats(1, 1, 2, 3), mode="nearest", opset=11),
    *(
        resize(WIDE, "-", scales, opset=13, mode="nearest",
               coordinate_transformation_mode=mode, nearest_mode=rounding)
        for mode in ("half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel")
        for rounding in ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")
        for scales in (floats(1, 1, 2, 2), floats(1, 1, 0.5, 1.7))
        if mode != "align_corners" or scales[3] == 2
    ),
    *(
        resize(SQUARE, "-", "-", sizes, opset=13, mode="linear",
               coordinate_transformation_mode=mode)
        for mode in ("half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel")
        for sizes in (ints(2, 4, 16, 16), ints(2, 4, 5, 11))
    ),
    resize(SQUARE, "-", floats(2.0, 2.0), opset=18, axes=[2, 3], mode="linear"),
    resize(SQUARE, "-", "-", ints(4, 12), opset=18, axes=[2, 3], mode="nearest"),
]  # fmt: skip

CASES = [
    *(*CONVOLUTIONS, *POOLS, *ACTIVATIONS, *ARITHMETIC),
    *(*NORMALISATIONS, *SHAPES, *RESIZES),
]


def batches(one: Case) -> tuple[int, ...]:
    """Sizes of all axes, where a case has them, fix the number of images of the reference."""
    fixed = one.operator == "Resize" and isinstance(one.operands[-1], np.ndarray)
    return (2,) if fixed and one.operands[-1].dtype == np.int64 else (1, 3, 7)


@pytest.mark.parametrize("one", CASES)
def test_the_reference_gives_the_same(one: Case, tmp_path: Path) -> None:
    model = one.model()
    path = onnx_models.saved(model, tmp_path)
    layouts = (False, True) if len(one.shape) == 3 else (False,)
    for last in layouts:
        shape = [one.shape[axis] for axis in (1, 2, 0)] if last else one.shape
        spec = tf.TensorSpec([None, *shape], one.dtype)
        read = tf.function(read_onnx(path, channels_last_images=last), input_signature=[spec])
        for batch in batches(one):
            x = onnx_models.numbers(batch, *one.shape, seed=batch, dtype=one.dtype)
            expected = onnx_models.reference(model, x)
            images = tf.constant(x.transpose(0, 2, 3, 1) if last else x)
            with tf.GradientTape() as tape:
                tape.watch(images)
                got = read(images)
                total = tf.add_n([tf.reduce_sum(tensor) for tensor in got.values()])
            for name, array in expected.items():
                assert got[name].dtype == array.dtype
                np.testing.assert_allclose(got[name], array, one.tolerance, one.tolerance)
            assert np.isfinite(tape.gradient(total, images)).all()


@pytest.mark.parametrize("one", [case for case in CASES if batches(case.values[0]) != (2,)])
def test_a_file_of_one_image_takes_any_number(one: Case, tmp_path: Path) -> None:
    fixed = one.model(batch=1)
    read = read_onnx(onnx_models.saved(fixed, tmp_path))
    x = onnx_models.numbers(3, *one.shape, seed=5, dtype=one.dtype)
    got = read(tf.constant(x))
    for name in got:
        alone = [onnx_models.reference(fixed, x[i : i + 1])[name] for i in range(3)]
        expected = np.concatenate(alone)
        np.testing.assert_allclose(got[name], expected, one.tolerance, one.tolerance)


# Where the reference has no answer, or one of another opset: the same, as the newest opset says it.


def resized(scales: np.ndarray, mode: str) -> Case:
    """As Upsample, and Resize of opset 10, do it."""
    attributes = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    return Case("Resize", SQUARE, ["-", scales], attributes={"mode": mode, **attributes})


def of_statistics(opset: int) -> Case:
    return Case("BatchNormalization", SQUARE, [W(4), W(4, seed=1), W(4, seed=2), abs(W(4))], opset)


def max_pool(**attributes: Any) -> Case:
    return Case(
        "MaxPool", WIDE, attributes={"kernel_shape": [2, 3], "strides": [1, 2]} | attributes
    )


def transposed(**attributes: Any) -> Case:
    strides = {"strides": [3, 2]}
    return Case("ConvTranspose", SQUARE, [W(4, 6, 3, 3)], attributes=strides | attributes)


TWINS = {
    "Upsample 7": (
        Case("Upsample", SQUARE, opset=7, attributes={"scales": [1.0, 1.0, 2.0, 3.0]}),
        resized(floats(1, 1, 2, 3), "nearest"),
    ),
    "Upsample 9, linear": (
        Case("Upsample", SQUARE, [floats(1, 1, 2, 3)], 9, attributes={"mode": "linear"}),
        resized(floats(1, 1, 2, 3), "linear"),
    ),
    "Resize 10": (
        Case("Resize", SQUARE, [floats(1, 1, 0.5, 3)], 10),
        resized(floats(1, 1, 0.5, 3), "nearest"),
    ),
    "BatchNormalization 7": (of_statistics(7), of_statistics(15)),
    "BatchNormalization 9": (of_statistics(9), of_statistics(15)),
    "MaxPool SAME_LOWER": (max_pool(auto_pad="SAME_LOWER"), max_pool(pads=[1, 1, 0, 0])),
    "ConvTranspose output_shape": (
        transposed(output_shape=[22, 15]),
        transposed(pads=[1, 1, 1, 1]),
    ),
    "ConvTranspose output_shape SAME_UPPER": (
        transposed(output_shape=[23, 14], auto_pad="SAME_UPPER"),
        transposed(pads=[0, 1, 1, 2]),
    ),
}


@pytest.mark.parametrize(("old", "new"), TWINS.values(), ids=TWINS)
def test_an_older_opset_means_what_a_newer_one_says(old: Case, new: Case, tmp_path: Path) -> None:
    x = onnx_models.numbers(3, *old.shape)
    got = read_onnx(onnx_models.saved(old.model(), tmp_path))(tf.constant(x))["y"]
    expected = onnx_models.reference(new.model(), x)["y"]
    np.testing.assert_allclose(got, expected, 1e-5, 1e-5)


@pytest.mark.parametrize("axis", [None, 1, 2, 3, -2])
@pytest.mark.parametrize("operator", ["Softmax", "LogSoftmax"])
def test_before_opset_13_a_softmax_runs_over_all_axes_behind_its_own(
    operator: str, axis: int | None, tmp_path: Path
) -> None:
    attributes = {} if axis is None else {"axis": axis}
    one = Case(operator, (4, 3, 5), opset=11, attributes=attributes)
    x = onnx_models.numbers(2, 4, 3, 5)
    got = read_onnx(onnx_models.saved(one.model(), tmp_path))(tf.constant(x))["y"]
    axes = tuple(range((1 if axis is None else axis) % 4, 4))
    logits = x - x.max(axes, keepdims=True)
    expected = logits - np.log(np.exp(logits).sum(axes, keepdims=True))
    np.testing.assert_allclose(
        got, expected if operator == "LogSoftmax" else np.exp(expected), 1e-5
    )
