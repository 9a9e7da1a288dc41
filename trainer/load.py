"""A trained model from disk, whoever wrote it, as a function from images to logits or
probabilities."""

import hashlib
import json
import os
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras

from foundation.errors import DataError
from foundation.paths import plain_path
from foundation.versions import versions
from robustness.types import FloatArray, IntArray, Model

BLOCK = 1 << 20


@dataclass(frozen=True, kw_only=True)
class LoadedModel:
    """A model and what is known of it.

    path: the file or folder that was read.
    model: float32 [n, h, w, c] to logits or probabilities, float32 [n, k].
    image_shape: height, width, channels.
    fingerprint: SHA-256 of its files in hex.
    serve: the predicted classes, int64 [n], as the serving signature gives them for the same images
        as PNG; None where there is no such signature.
    """

    path: Path
    model: Model
    image_shape: tuple[int, int, int]
    fingerprint: str
    serve: Callable[[FloatArray], IntArray] | None


def load_model(path: Path) -> LoadedModel:
    """Load a Keras 2 or Keras 3 model, or any SavedModel with a signature from one batch of float
    images.

    Args:
        path: a `.keras` or `.h5` file, a SavedModel folder, or a folder of numbered versions, of
            which the newest is taken.

    Raises:
        DataError: there is no model, or it cannot be used; the message says what was expected.
    """
    path = _model_in(path)
    opened = plain_path(path)
    try:
        model = _load(opened)
    except DataError:
        raise
    except Exception as error:
        raise DataError(
            f"{path}: expected a SavedModel folder, a .keras or a .h5 file; loading it failed: "
            f"{error}"
        ) from error
    return LoadedModel(
        path=path,
        model=model,
        image_shape=_image_shape(model, path),
        fingerprint=_fingerprint(path),
        serve=serving_signature(str(opened)),
    )


def _model_in(path: Path) -> Path:
    """The file, or the folder of a SavedModel: of numbered versions the newest."""
    if not path.exists():
        raise DataError(
            f"{path}: there is no such file or folder; expected a SavedModel folder or a .keras "
            "file"
        )
    if path.is_dir() and not (path / "saved_model.pb").exists():
        # a model artifact of TFX, or versions that were pushed
        folders = [path / name for name in ("Format-Serving", *reversed(versions(str(path))))]
        for folder in folders:
            if (folder / "saved_model.pb").exists():
                return folder
        raise DataError(
            f"{path}: expected a SavedModel folder (with saved_model.pb in it) or numbered "
            "versions of one"
        )
    return path


def _load(path: Path) -> Model:
    if path.is_file():
        return _keras_file(path)
    if (path / "keras_metadata.pb").exists():
        return tf_keras.models.load_model(path, compile=False)
    return SignatureModel(tf.saved_model.load(str(path)), path)


def _keras_file(path: Path) -> Model:
    """The model of a file: Keras 3 loads a `.keras` file of Keras 3, Keras 2 everything else."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            version = json.loads(archive.read("metadata.json"))["keras_version"]
        if version.startswith("3."):
            import keras

            return keras.saving.load_model(path, compile=False)
    return tf_keras.models.load_model(path, compile=False)


class SignatureModel:
    """A SavedModel without Keras: its signature from float images to logits or probabilities."""

    def __init__(self, loaded: Any, path: Path) -> None:
        self._loaded = loaded  # its variables live as long as it does
        self._path = path
        self._name, self._argument, self._output = self._find(loaded.signatures)
        self._signature = loaded.signatures[self._name]
        self.input_shape = tuple(
            self._signature.structured_input_signature[1][self._argument].shape
        )

    def __call__(self, x: tf.Tensor, training: bool = False) -> tf.Tensor:
        return self._signature(**{self._argument: x})[self._output]

    def _find(self, signatures: Any) -> tuple[str, str, str]:
        """Signature, argument and output; `logits` before any other output."""
        for name, signature in signatures.items():
            arguments = signature.structured_input_signature[1]
            outputs = signature.structured_outputs
            matrices = [
                k
                for k, spec in outputs.items()
                if spec.dtype == tf.float32 and len(spec.shape) == 2
            ]
            matrices = ["logits"] if "logits" in matrices else matrices
            images = [
                k
                for k, spec in arguments.items()
                if spec.dtype == tf.float32 and len(spec.shape) == 4
            ]
            if len(arguments) == 1 and images and len(matrices) == 1:
                return name, images[0], matrices[0]
        raise DataError(
            f"{self._path}: expected a signature from one batch of images, float32 [n, h, w, c], "
            "to logits, float32 [n, k], named `logits` where there are several outputs; its "
            f"signatures are {', '.join(signatures) or 'none'}"
        )


def _image_shape(model: Model, path: Path) -> tuple[int, int, int]:
    shape = getattr(model, "input_shape", None)
    if not isinstance(shape, tuple) or len(shape) != 4 or None in shape[1:]:
        raise DataError(
            f"{path}: expected one input of images of a fixed shape [n, h, w, c], got {shape}"
        )
    return shape[1:]


def _fingerprint(path: Path) -> str:
    digest = hashlib.sha256()
    files = (
        [path]
        if path.is_file()
        else sorted(p for p in path.rglob("*") if p.is_file() and "assets.extra" not in p.parts)
    )
    for file in files:
        digest.update(os.fsencode(file.name))
        with open(file, "rb") as opened:
            while block := opened.read(BLOCK):
                digest.update(block)
    return digest.hexdigest()


def serving_signature(path: str) -> Callable[[FloatArray], IntArray] | None:
    """The classes that the `serving_default` signature of a SavedModel gives for images in [0, 1]
    that it gets as PNG; None where there is no signature that takes them."""
    if not tf.io.gfile.isdir(path):
        return None
    loaded = tf.saved_model.load(path)
    signature = loaded.signatures.get("serving_default")
    if signature is None:
        return None
    arguments = signature.structured_input_signature[1]
    takes_png = [
        name for name, spec in arguments.items() if spec.dtype == tf.string and len(spec.shape) == 1
    ]
    if len(arguments) != 1 or not takes_png or "class" not in signature.structured_outputs:
        return None

    def serve(x: FloatArray) -> IntArray:
        encoded = [tf.io.encode_png(image) for image in np.round(x * 255).astype(np.uint8)]
        answer = loaded.signatures["serving_default"](
            **{takes_png[0]: tf.stack(encoded)}
        )  # keeps `loaded` alive
        return np.asarray(answer["class"])

    return serve
