"""ONNX models made by hand, and what the reference of the package onnx, in NumPy, answers."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

TYPES = {
    "float32": TensorProto.FLOAT,
    "float16": TensorProto.FLOAT16,
    "float64": TensorProto.DOUBLE,
    "uint8": TensorProto.UINT8,
}


def numbers(*shape: int, seed: int = 0, dtype: str = "float32") -> np.ndarray:
    """Normal numbers."""
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


def node(operator: str, inputs: str, outputs: str, **attributes: Any) -> onnx.NodeProto:
    """A node; the names of inputs and outputs are separated by blanks, `-` stands for none."""
    names = [["" if name == "-" else name for name in text.split()] for text in (inputs, outputs)]
    return helper.make_node(operator, *names, name=f"{operator}_of_{outputs}", **attributes)


def graph(
    nodes: Sequence[onnx.NodeProto],
    shape: Sequence[int | str | None],
    weights: Mapping[str, np.ndarray] | None = None,
    opset: int = 17,
    outputs: Sequence[str] = ("y",),
    dtype: str = "float32",
    **settings: Any,
) -> onnx.ModelProto:
    """A model from `x` of a shape; the first size is that of the batch."""
    image = helper.make_tensor_value_info("x", TYPES[dtype], shape)
    results = [helper.make_tensor_value_info(name, TYPES[dtype], None) for name in outputs]
    constants = [numpy_helper.from_array(a, name) for name, a in (weights or {}).items()]
    made = helper.make_graph(nodes, "graph", [image], results, constants)
    settings.setdefault("opset_imports", [helper.make_opsetid("", opset)])
    return helper.make_model(made, ir_version=10, **settings)


def saved(model: onnx.ModelProto, folder: Path, name: str = "model.onnx") -> Path:
    path = folder / name
    path.write_bytes(model.SerializeToString())
    return path


def reference(model: onnx.ModelProto, x: np.ndarray) -> dict[str, np.ndarray]:
    """What the model answers, by output."""
    names = [output.name for output in model.graph.output]
    return dict(zip(names, ReferenceEvaluator(model).run(None, {"x": x}), strict=True))
