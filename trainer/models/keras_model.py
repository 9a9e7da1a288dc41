"""Models of Keras 2 and Keras 3: the generation of Keras that wrote a file reads it.

Which one that was, the file says itself; so both get what `keras_config` and `keras_weights` let
through, and nothing depends on what either of them refuses.
"""

import contextlib
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tensorflow as tf
import tf_keras
from tf_keras.src.saving import serialization_lib

from foundation.errors import DataError
from trainer.models.formats import Format, ModelFile, read_archive
from trainer.models.keras_config import code, foreign_modules, refuse_code, refuse_endless
from trainer.models.keras_weights import check_weights
from trainer.models.network import Network, Outputs

KERAS_METADATA = "keras_metadata.pb"
"""What makes a SavedModel one of Keras 2."""


def keras_file(file: ModelFile[Path], trust: bool) -> Network:
    """The network of a `.keras` or `.h5` file.

    trust: whether code that lies in the file may run.

    Raises:
        DataError: it is damaged, is no whole model, takes other than one input, or holds code.
    """
    path = file.path
    if file.format is Format.KERAS_ZIP:
        version = str(read_archive(path, "metadata.json").get("keras_version", ""))
        config = read_archive(path, "config.json")
    else:
        version, config = _hdf5(path)
    if not trust:
        refuse_code(path, config)
    check_weights(path)
    three = version.startswith("3.")
    if not three:
        refuse_endless(path, config)
    with _named(path, file.format) as named:
        model = _of_keras_3(named, trust) if three else _of_keras_2(named, trust)
    kind = f"Keras {3 if three else 2} {file.format.value} file"
    modules = tuple(foreign_modules(config))
    network = network_of(model, kind, modules)
    if network is None:
        raise DataError(
            f"{path}: Keras does not tell the shape of its input; save the model as a SavedModel "
            "folder, whose signature tells it"
        )
    return network


def keras_saved_model(path: str, trust: bool) -> Network | None:
    """The network of a SavedModel that Keras 2 wrote; None where it must be asked through a
    signature: it holds code, or Keras does not tell its shape."""
    metadata = os.path.join(path, KERAS_METADATA)
    if not tf.io.gfile.exists(metadata) or (not trust and code_in(path)):
        return None
    refuse_endless(path, list(_saved_configs(metadata)))
    return network_of(_of_keras_2(path, trust), "Keras 2 SavedModel")


def code_in(path: str) -> str:
    """What is code in the metadata of a SavedModel that Keras 2 wrote; '' where there is none."""
    metadata = os.path.join(path, KERAS_METADATA)
    if not tf.io.gfile.exists(metadata):
        return ""
    return next(code(list(_saved_configs(metadata))), "")


def network_of(model: Any, kind: str, modules: tuple[str, ...] = ()) -> Network | None:
    """A Keras model as a network; None where Keras does not tell the shape of its input.

    Raises:
        DataError: it has several inputs.
    """
    shape = getattr(model, "input_shape", None)
    inputs = getattr(model, "inputs", None) or []
    if len(inputs) > 1:
        raise DataError(f"expected one input of images, the model has {len(inputs)}: {shape}")
    name = ""
    if isinstance(shape, dict):
        ((name, shape),) = shape.items()
    elif isinstance(shape, list) and len(shape) == 1:
        (shape,) = shape
    if not isinstance(shape, tuple):
        return None

    def call(x: tf.Tensor) -> Outputs:
        return _outputs(model({name: x} if name else x, training=False), model)

    dtype = tf.as_dtype(inputs[0].dtype) if inputs else tf.float32
    # Keras does not insist on the size of a batch.
    shape = (None, *shape[1:])
    return Network(kind=kind, call=call, input_name=name, shape=shape, dtype=dtype, modules=modules)


def _outputs(outputs: Any, model: Any) -> Outputs:
    names = getattr(model, "output_names", None) or ()
    if isinstance(outputs, list | tuple) and len(names) == len(outputs):
        outputs = dict(zip(names, outputs, strict=True))
    return dict(_flat(outputs))


def _flat(outputs: Any, name: str = "") -> Iterator[tuple[str, tf.Tensor]]:
    """All outputs; one within another is OUTER/INNER."""
    if isinstance(outputs, list | tuple):
        outputs = dict(enumerate(outputs))
    if not isinstance(outputs, dict):
        yield name, outputs
        return
    for inner, output in outputs.items():
        yield from _flat(output, f"{name}/{inner}" if name else str(inner))


@contextlib.contextmanager
def _named(path: Path, format_: Format) -> Iterator[Path]:
    """The file under a name with the ending of its format, by which Keras chooses how it reads."""
    if path.suffix == format_.value:
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        named = Path(folder) / f"model{format_.value}"
        named.symlink_to(path)
        yield named


def _of_keras_3(path: Path, trust: bool) -> Any:
    import keras

    return keras.saving.load_model(path, compile=False, safe_mode=not trust)


def _of_keras_2(path: Path | str, trust: bool) -> Any:
    # Code has been refused, or allowed, for every format alike. Keras looks for Lambda layers in
    # .keras files only unless it is told for all of them.
    with serialization_lib.SafeModeScope(not trust):
        return tf_keras.models.load_model(path, compile=False, safe_mode=not trust)


def _hdf5(path: Path) -> tuple[str, Any]:
    """Version of Keras and configuration in an HDF5 file."""
    import h5py

    try:
        with h5py.File(path) as file:
            version, config = file.attrs.get("keras_version", ""), file.attrs.get("model_config")
    except OSError as error:
        raise DataError(f"{path} is damaged: {error}") from error
    if config is None:
        raise DataError(
            f"{path} holds weights without a network; save the whole model with model.save(PATH)"
        )
    texts = (text.decode() if isinstance(text, bytes) else str(text) for text in (version, config))
    version, config = texts
    return version, json.loads(config)


def _saved_configs(metadata: str) -> Iterator[Any]:
    """The configurations of all layers in the metadata of Keras 2."""
    from tf_keras.protobuf import saved_metadata_pb2

    with tf.io.gfile.GFile(metadata, "rb") as file:
        saved = saved_metadata_pb2.SavedMetadata.FromString(file.read())
    for node in saved.nodes:
        yield json.loads(node.metadata or "{}")
