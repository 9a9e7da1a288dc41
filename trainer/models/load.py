"""A trained model from disk, whoever wrote it, as a function from images in [0, 1] to logits."""

import contextlib
import hashlib
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from foundation.code import code_of
from foundation.errors import DataError
from foundation.paths import plain_path
from robustness.logits import Read, as_logits, first_line
from robustness.types import FloatArray, Images, ImagesTensor, IntArray, Logits, LogitsTensor
from trainer.classes import class_names_of
from trainer.models.choice import Asked, Wanted, chosen
from trainer.models.fit import in_batches
from trainer.models.formats import WAYS_IN, Format, ModelFile, model_file
from trainer.models.judged import Judged, JudgedInput, JudgedOutput
from trainer.models.keras_model import code_in, keras_file, keras_saved_model, network_of
from trainer.models.network import Network
from trainer.models.scan import refuse_operations
from trainer.models.signature import SERVING, networks_of, serves_numbers
from trainer.models.state import refuse_memory, refuse_memory_of_signatures

BLOCK = 1 << 20

EXTRA = "assets.extra"
"""Folder in a SavedModel that no model reads."""


class ImageModel:
    """Images float32 [n, h, w, c] in [0, 1] to logits float32 [n, k].

    image_shape: height, width, channels. classes: number of logits. judged: what it is.
    one_batch: the same for as many images as it takes at a time. batch: how many; None for any
    number. key: hash of what it computes beside its file. files: what was read beside it.
    """

    def __init__(self, asked: Asked, read: Read, judged: Judged) -> None:
        self.image_shape, self.batch = asked.fitted.image_shape, asked.fitted.batch
        self.classes, self.judged, self.one_batch = read.classes, judged, read.model
        self.key, self.files = _key(asked.network), asked.network.files
        self._in_graph = tf.function(self.__call__, reduce_retracing=True, autograph=False)

    def __call__(self, x: ImagesTensor, training: bool = False) -> LogitsTensor:
        if tf.executing_eagerly():
            return self._in_graph(x)
        x = tf.ensure_shape(x, [None, *self.image_shape])
        if self.batch is None:
            logits = self.one_batch(x, training=False)
        else:
            logits = in_batches(self.one_batch, x, self.batch)
        return tf.ensure_shape(logits, [None, self.classes])


@dataclass(frozen=True, kw_only=True)
class LoadedModel:
    """A model and what is known of it.

    path: the file or folder that was read.
    model: images to logits.
    fingerprint: SHA-256 of its files in hex.
    class_names: names of its classes in the order of its outputs, as its file has them; empty where
        it has none.
    serve: the predicted classes, int64 [n], as the serving signature gives them for the same images
        as PNG; None where there is no such signature.
    """

    path: Path
    model: ImageModel
    fingerprint: str
    class_names: tuple[str, ...] = ()
    serve: Callable[[FloatArray], IntArray] | None


def load_model(path: Path, wanted: Wanted | None = None) -> LoadedModel:
    """Load a model of Keras 2 or 3, a SavedModel or an ONNX file.

    Args:
        path: a `.keras`, `.h5` or `.onnx` file, a SavedModel folder, or a folder of numbered
            versions, of which the newest is taken.
        wanted: what it is asked with.

    Raises:
        DataError: there is no model, or it cannot be used; the message says what was expected.
    """
    file = model_file(path)
    # ONNX is opened by Python, for whom a path is no pattern, and its weights may lie beside it.
    plain = file.path if file.format is Format.ONNX else plain_path(file.path)
    opened = replace(file, path=plain)
    begin, before = time.time_ns(), _content(file.path)
    model = ask_model(opened, wanted or Wanted(), file.path)
    loaded = LoadedModel(
        path=file.path,
        model=model,
        fingerprint=_with(before, model.key),
        class_names=class_names_of(str(opened.path)) if file.path.is_dir() else (),
        serve=serving_signature(str(opened.path)),
    )
    beside = any(other.stat().st_ctime_ns > begin for other in model.files)
    if beside or _content(file.path) != before:
        raise DataError(
            f"{file.path} changed while it was loaded; wait until it is written, and run the same "
            "command again"
        )
    return loaded


def load_export(folder: str) -> ImageModel:
    """The model in a SavedModel folder that a pipeline trained, on this machine or in a store, by
    the shape that it says; what code it holds is that of the pipeline's user.

    Raises:
        DataError: it cannot be used; the message says what was expected.
    """
    return ask_model(ModelFile(path=folder, format=Format.SAVED_MODEL), Wanted(trust=True), folder)


def require_no_memory(folder: str) -> None:
    """Raises DataError where a signature of an export may keep something of what it is asked."""
    with explained(folder):
        refuse_memory_of_signatures(folder)


def ask_model(file: ModelFile[Any], wanted: Wanted, named: Path | str) -> ImageModel:
    """The model of a file; raises DataError where it cannot be used.

    named: path by which a person knows the file.
    """
    with explained(named):
        asked, model = _asked_first(networks_in(file, wanted), wanted, named)
        notes = [steadiness(model, asked.sample) or served_otherwise(file, wanted, asked)]
        model.judged = replace(model.judged, doubts=(*filter(None, notes), *model.judged.doubts))
    return model


def model_in_memory(model: Any, wanted: Wanted) -> ImageModel:
    """A model of this process: of Keras 2 or 3, or a function of TensorFlow from images to logits.

    Raises:
        DataError: it cannot be used; the message says what was expected.
    """
    named = getattr(model, "name", "") or getattr(model, "__name__", "") or type(model).__name__
    with explained(str(named)):
        network = network_of(model, f"{type(model).__module__.partition('.')[0]} model")
        if network is None and not callable(model):
            raise DataError(f"expected a Keras model, or a function of images, got {model!r:.100}")
        network = network or Network(
            kind="function",
            call=lambda x: {"": tf.convert_to_tensor(model(x))},
            input_name="",
            shape=None,
            dtype=tf.float32,
        )
        asked, judged = _asked_first([network], wanted, str(named))
        if note := steadiness(judged, asked.sample):
            judged.judged = replace(judged.judged, doubts=(note, *judged.judged.doubts))
    return judged


def _asked_first(
    networks: list[Network], wanted: Wanted, named: Path | str
) -> tuple[Asked, ImageModel]:
    """The output that is judged, and the model that gives its logits, which keeps nothing."""
    asked = chosen(networks, wanted)
    read = as_logits(asked.model, asked.fitted.image_shape, asked.sample)
    model = ImageModel(asked, read, _judged(named, asked, read, wanted))
    refuse_memory(model, asked.fitted.image_shape, model.batch)
    return asked, model


def served_otherwise(file: ModelFile[Any], wanted: Wanted, asked: Asked) -> str:
    """Where a Keras SavedModel is judged, whose `serving_default` computes something else from the
    data's images, a sentence that says so; '' otherwise."""
    keras = file.format is Format.SAVED_MODEL and not asked.network.signature
    if not keras or wanted.sample is None or not serves_numbers(str(file.path)):
        return ""
    otherwise = "gives something else"
    with contextlib.suppress(DataError):  # it gives no logits, or several outputs that may be
        answer = chosen(networks_of(str(file.path), SERVING), wanted).answer
        if answer.shape == asked.answer.shape:
            moved = int(np.sum(_ranks(answer) != _ranks(asked.answer)))
            otherwise = f"gives other classes for {moved} of {len(answer)} images" if moved else ""
    if not otherwise:
        return ""
    return (
        f"The Keras model in the folder is judged. Its signature {SERVING}, which a server would "
        f"ask, {otherwise}; judge that with --signature {SERVING}."
    )


def _ranks(answer: Logits) -> IntArray:
    """What squashing does not change: the class of each image; of one output, how the images are
    ordered by it."""
    return np.argsort(answer[:, 0]) if answer.shape[1] == 1 else np.argmax(answer, axis=1)


def steadiness(model: ImageModel, sample: Images) -> str:
    """What makes verdicts on single images doubtful; '' where nothing does.

    Args:
        model: what is asked.
        sample: a few images.

    Raises:
        DataError: an image's logits depend on the images beside it.
    """
    logits, again, turned = (
        np.asarray(model(tf.constant(x), training=False))[order]
        for x, order in ((sample, slice(None)), (sample, slice(None)), (sample[::-1], TURNED))
    )
    if not np.all(np.isfinite(logits)):
        return ""  # which the checks and the first images tell
    exact = model.judged.output.dtype in ("float32", "float64")
    allowed = (1e-3 if exact else 5e-2) * float(np.max(np.abs(logits)))
    if np.max(np.abs(again - logits)) > allowed:
        return RANDOM
    others = [turned]
    if model.batch is None:
        others.append(np.concatenate([model(tf.constant(x[None])) for x in sample]))
    most = max(float(np.max(np.abs(other - logits))) for other in others)
    if most > allowed:
        raise DataError(
            f"the logits of an image depend on the images beside it: by up to {most:.2g} of "
            f"{np.max(np.abs(logits)):.2g}. No verdict on an image would mean anything; batch "
            "normalisation in training mode does that: export the model with training=False"
        )
    return ""


TURNED = slice(None, None, -1)

RANDOM = (
    "Asked twice for the same images, the model gives other logits: it draws random numbers. "
    "Attacks look weaker on it than they are, and every figure is one draw."
)


@contextlib.contextmanager
def explained(path: Path | str) -> Iterator[None]:
    """Whatever goes wrong inside is a DataError that names the file."""
    try:
        yield
    except DataError as error:
        named = str(error).startswith(str(path))
        raise type(error)(str(error) if named else f"{path}: {error}") from error
    except Exception as error:
        raise DataError(f"{path}: loading it failed: {first_line(error)}; {WAYS_IN}") from error


def networks_in(file: ModelFile[Any], wanted: Wanted) -> list[Network]:
    """What a file can be asked through, the likeliest first; raises DataError where there is
    nothing."""
    name = wanted.signature.partition(":")[0]
    if file.format is Format.SAVED_MODEL:
        folder = str(file.path)
        if not wanted.trust:
            refuse_operations(Path(folder))
        keras = None if name else keras_saved_model(folder, wanted.trust)
        networks = [keras] if keras else signatures_in(folder)
    elif file.format is Format.ONNX:
        from trainer.models.onnx_reader.network import onnx_network

        networks = [onnx_network(Path(file.path))]
    else:
        networks = [keras_file(file, wanted.trust)]
    named = [network for network in networks if name in ("", network.signature)]
    if not named:
        known = ", ".join(network.signature for network in networks if network.signature)
        raise DataError(f"there is no signature {name!r} of images; there is {known or 'none'}")
    return named


def signatures_in(folder: str) -> list[Network]:
    """The signatures of a SavedModel; raises DataError, which names what helps, where none can be
    asked."""
    try:
        return networks_of(folder)
    except DataError as error:
        if code := code_in(folder):
            raise DataError(
                f"{error}; what Keras wrote of it holds code ({code}), which runs with --trust only"
            ) from error
        raise


def _key(network: Network) -> str:
    """Hash of what decides what a network computes beside its own file; '' where that is all."""
    parts = [library.encode() for library in network.libraries]
    for module in network.modules:
        # A file from elsewhere may name one that is not here, and is not run.
        with contextlib.suppress(ModuleNotFoundError):
            parts.append(code_of(module).encode())
    parts += [file.read_bytes() for file in network.files]
    digest = hashlib.sha256()
    for part in parts:
        digest.update(b"%d " % len(part) + part)
    beside = network.libraries or network.modules or network.files
    return digest.hexdigest() if beside else ""


def _judged(path: Path | str, asked: Asked, read: Read, wanted: Wanted) -> Judged:
    network = asked.network
    return Judged(
        file=str(path),
        format=network.kind,
        signature=network.signature,
        input=JudgedInput(
            name=network.input_name,
            shape=network.shape,
            dtype=network.dtype.name,
            channels=asked.fitted.channels,
            pixels=str(wanted.pixels),
        ),
        output=JudgedOutput(
            name=asked.output, dtype=asked.dtype, taken_off=read.taken_off, single=read.single
        ),
        classes=read.classes,
        said=asked.fitted.said,
        doubts=read.notes,
    )


def _with(content: str, key: str) -> str:
    """Hash of all that decides what a model computes: its files, and what `_key` knows."""
    return hashlib.sha256(f"{content} {key}".encode()).hexdigest() if key else content


def _content(path: Path) -> str:
    """Hash of the files of a model. Names and contents have their lengths before them, so that no
    two models run together to the same bytes."""
    digest = hashlib.sha256()
    for name, file in [("", path)] if path.is_file() else _files(path):
        digest.update(b"%d %d " % (len(os.fsencode(name)), file.stat().st_size))
        digest.update(os.fsencode(name))
        with open(file, "rb") as opened:
            while block := opened.read(BLOCK):
                digest.update(block)
    return digest.hexdigest()


def _files(folder: Path) -> list[tuple[str, Path]]:
    """What a SavedModel holds, by the names that its files have in it, wherever links lead; what
    was only put beside it is in `assets.extra`.

    Raises:
        DataError: a link leads back to a folder around it, or something in it is no file, which
            would be read for ever.
    """
    files: list[Path] = []
    for parent, folders, names in os.walk(folder, followlinks=True):
        if Path(parent) == folder:
            folders[:] = [name for name in folders if name != EXTRA]
        if any(
            Path(parent, name).samefile(above) for name in folders for above in _to(folder, parent)
        ):
            raise DataError(f"{parent}: a link in it leads back to a folder around it")
        files += [file for name in names if (file := Path(parent, name)).exists()]
    if odd := next((file for file in files if not file.is_file()), None):
        raise DataError(f"{odd} is neither a file nor a folder")
    return sorted((str(file.relative_to(folder)), file) for file in files)


def _to(folder: Path, parent: str) -> list[Path]:
    """The folders from `folder` to one below it."""
    inside = Path(parent).relative_to(folder)
    return [folder / above for above in (inside, *inside.parents)]


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
