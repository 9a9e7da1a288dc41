"""What a description of layers may have Keras call, and what it may not."""

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from foundation.errors import DataError
from trainer.models.keras_config import code, foreign_modules, refuse_endless
from trainer.models.keras_weights import check_weights

DENSE = {"module": "keras.layers", "class_name": "Dense", "config": {"units": 3}}

LAMBDA = "tf_keras.src.layers.core.lambda_layer"

ALLOWED: list[dict[str, Any]] = [
    DENSE,
    {"class_name": "Dense", "config": {}},
    {"module": "keras.src.models.functional", "class_name": "Functional", "registered_name": None},
    {"module": "tf_keras.src.engine.functional", "class_name": "Functional"},
    {"module": "keras", "class_name": "DTypePolicy", "config": {"name": "float32"}},
    {"module": "keras.src.ops.numpy", "class_name": "GetItem"},
    {"module": "keras.optimizers.legacy", "class_name": "Adam"},
    {"module": "builtins", "class_name": "function", "config": "relu"},
    {"module": None, "class_name": "Custom>Adam", "registered_name": "Custom>Adam"},
    {
        "module": "tensorflow.python.framework.tensor_spec", "class_name": "__typespec__",
        "spec_name": "TensorSpec", "registered_name": None,
    },
    {"class_name": "StringLookup", "config": {"vocabulary": ["a", "b"]}},
]  # fmt: skip

REFUSED: dict[str, dict[str, Any]] = {
    "a lambda": {"class_name": "__lambda__"},
    "a Lambda layer 'x'": {"class_name": "Lambda", "config": {"name": "x"}},
    # Keras looks for the registered name where there is no class of the first.
    "a Lambda layer 'y'": {
        "module": LAMBDA, "class_name": "Own", "registered_name": "Lambda", "config": {"name": "y"},
    },
    "a Lambda layer 'z'": {
        "module": LAMBDA, "class_name": "__typespec__", "spec_name": "Lambda",
        "registered_name": "q", "config": {"name": "z"},
    },
    "a Lambda layer 'w'": {"class_name": "Own>Lambda", "config": {"name": "w"}},
    "the name 'lambda_layer.Lambda'": {
        "module": "keras.src.layers.core", "class_name": "lambda_layer.Lambda",
    },
    "the name 'os.system'": {
        "module": "keras.losses", "class_name": "function", "config": "os.system",
    },
    "the function eval of the module builtins": {
        "module": "builtins", "class_name": "function", "config": "eval",
    },
    "the function get_file of the module keras.utils": {
        "module": "keras.utils", "class_name": "function", "config": "get_file",
    },
    "the function enable_unsafe_deserialization of the module keras.config": {
        "module": "keras.config", "class_name": "function",
        "config": "enable_unsafe_deserialization",
    },
    "the function read_file of the module tensorflow.io": {
        "module": "tensorflow.io", "class_name": "function", "config": "read_file",
    },
    "Popen of the module subprocess": {"module": "subprocess", "class_name": "Popen"},
    "x of the module kerasx.layers": {"module": "kerasx.layers", "class_name": "x"},
    "Sequence of the module keras.utils": {"module": "keras.utils", "class_name": "Sequence"},
    "load_model of the module keras.models": {
        "module": "keras.models", "class_name": "load_model",
    },
    "__typespec__ of the module os": {
        "module": "os", "class_name": "__typespec__", "spec_name": "system",
    },
    "TFSMLayer, which opens a file that it names": {
        "module": "keras.layers", "class_name": "TFSMLayer", "config": {"filepath": "/x"},
    },
    "TorchModuleWrapper, which opens a file that it names": {"class_name": "TorchModuleWrapper"},
    "TextVectorization, which opens a file that it names": {
        "class_name": "TextVectorization", "config": {"vocabulary": "/etc/passwd"},
    },
    "a call of io.read_file": {
        "class_name": "TFOpLambda", "config": {"function": "io.read_file"},
    },
}  # fmt: skip


@pytest.mark.parametrize("part", ALLOWED, ids=lambda part: str(part.get("class_name")))
def test_what_keras_itself_needs_is_allowed(part: dict[str, Any]) -> None:
    assert list(code(inside(part))) == []


@pytest.mark.parametrize("said", REFUSED)
def test_what_else_there_is_is_code(said: str) -> None:
    assert list(code(inside(REFUSED[said]))) == [said]


def inside(part: dict[str, Any]) -> dict[str, Any]:
    """A model with a description far inside."""
    return {"class_name": "Sequential", "config": {"layers": [DENSE, {"config": [[part]]}]}}


def test_the_modules_of_a_user_are_known() -> None:
    assert list(foreign_modules(inside({"module": "mine.layers"}))) == ["mine.layers"]


def test_a_deep_description_ends() -> None:
    deep: Any = {"class_name": "Lambda"}
    for _ in range(100_000):
        deep = [deep]
    assert list(code(deep)) == ["a lambda"]


def test_weights_lie_in_the_file(tmp_path: Path) -> None:
    np.arange(4, dtype=np.float32).tofile(tmp_path / "raw")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["data"] = np.zeros(3)
    with h5py.File(tmp_path / "link.h5", "w") as file:
        file.create_group("a")["b"] = h5py.ExternalLink("other.h5", "data")
    with h5py.File(tmp_path / "raw.h5", "w") as file:
        file.create_dataset("d", (4,), np.float32, external=[(str(tmp_path / "raw"), 0, 16)])
    with h5py.File(tmp_path / "virtual.h5", "w") as file:
        layout = h5py.VirtualLayout(shape=(3,), dtype="f8")
        layout[:] = h5py.VirtualSource(tmp_path / "other.h5", "data", shape=(3,))
        file.create_virtual_dataset("v", layout)
    for name in ("link", "raw", "virtual"):
        with pytest.raises(DataError, match=rf"{name}\.h5: .* lies in another file"):
            check_weights(tmp_path / f"{name}.h5")
    check_weights(tmp_path / "other.h5")


def test_a_group_that_holds_itself(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "loop.h5", "w") as file:
        file.create_group("a")["b"] = file["/"]
    check_weights(tmp_path / "loop.h5")


def test_arrays_that_unpack_to_much_more_than_they_are(tmp_path: Path) -> None:
    """`model.weights.npz`, which a `.keras` file may have in place of HDF5."""
    arrays = io.BytesIO()
    np.savez_compressed(arrays, zeros=np.zeros(2**27, np.uint8))
    path = tmp_path / "model.keras"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model.weights.npz", arrays.getvalue())
    with pytest.raises(DataError, match="made to fill the memory: it unpacks to 134,"):
        check_weights(path)


def test_what_unpacks_to_much_more_than_it_is(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "bomb.h5", "w") as file:
        file.create_dataset("huge", (1 << 20, 1 << 20), np.float32)  # of which nothing is stored
    with zipfile.ZipFile(tmp_path / "bomb.keras", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("config.json", json.dumps(DENSE))
        archive.writestr("assets/zeros", bytes(80 << 20))
    with zipfile.ZipFile(tmp_path / "nested.keras", "w") as archive:
        archive.write(tmp_path / "bomb.h5", "model.weights.h5")
    for name in ("bomb.h5", "bomb.keras", "nested.keras"):
        with pytest.raises(DataError, match=rf"{name} is damaged, or made to fill the memory"):
            check_weights(tmp_path / name)


def layer(name: str, *calls: Any, kind: str = "Dense", **config: Any) -> dict[str, Any]:
    return {"name": name, "class_name": kind, "config": config, "inbound_nodes": list(calls)}


INPUT = layer("x", kind="InputLayer")


@pytest.mark.parametrize(
    "layers",
    [
        [INPUT, layer("a", [["x", 0, 0, {}]]), layer("b", [["a", 0, 0, {}]])],
        [layer("b", [["a", 0, 0, {}]]), INPUT, layer("a", [["x", 5, 0]])],  # in any order
        [INPUT, layer("a", [["x", 0, 0]], [["b", 0, 0]]), layer("b", [["a", 0, 0]])],  # shared
        [INPUT, layer("n", [["x", 0, 0]], layers=[]), layer("b", [["n", 1, 0]])],  # a network
        [INPUT, layer("b", [["elsewhere", 0, 0]])],  # which Keras misses itself
        [DENSE],
    ],
)
def test_layers_whose_turn_comes(layers: list[Any]) -> None:
    refuse_endless("m", {"config": {"layers": layers}})


@pytest.mark.parametrize(
    "layers",
    [
        [INPUT, layer("a", [["x", 0, 0]]), layer("b", [["a", None, 0]])],
        [INPUT, layer("a", [["x", 0, 0]]), layer("b", [["a", 1, 0]])],
        [INPUT, layer("a", [["b", 0, 0]]), layer("b", [["a", 0, 0]])],
        [INPUT, layer("a", [["x", 0, 0]]), layer("b", [["a", 0, 0, {"y": ["b", 0, 0]}]])],
        [INPUT, layer("b", [["b", 0, 0]], layers=[], kind="Dense", x=1), layer("c", [["b", 9, 0]])],
    ],
)
def test_layers_that_wait_for_ever(layers: list[Any]) -> None:
    """Keras 2 would ask again and again."""
    with pytest.raises(DataError, match=r"m is damaged: .* in it takes what no layer gives"):
        refuse_endless("m", [{"config": {"layers": layers}}])
