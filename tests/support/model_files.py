"""One small network in every format that people bring.

It is that of `small_classifier`: the same weights in the same layers, so the numbers must be the
same.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras
from small_world import CLASSES, SHAPE

Weights = list[np.ndarray]
Writer = Callable[[Weights, Path], Any]


def write_model(name: str, weights: Weights, folder: Path) -> Path:
    """Write the network in one of `FORMATS`; returns its path."""
    FORMATS[name](weights, folder / name)
    return folder / name


def network(weights: Weights, keras: Any = tf_keras, shape: tuple[int, ...] = SHAPE) -> Any:
    """The network in either generation of Keras, for images of another form of the same pixels."""
    layers = keras.layers
    image = layers.Input(shape)
    hidden = layers.Dense(8, activation="relu")(layers.Flatten()(image))
    model = keras.Model(image, layers.Dense(CLASSES)(hidden))
    model.set_weights(weights)
    return model


def keras3(weights: Weights, path: Path) -> None:
    import keras

    model = network(weights, keras)
    model.save(path) if path.suffix else model.export(path, verbose=False)


def of_shape(*shape: int) -> Writer:
    return lambda weights, path: network(weights, shape=shape).save(path)


def signature(weights: Weights, path: Path, batch: int | None = None) -> None:
    """What `tf.saved_model.save` writes of a function with two outputs."""
    module = tf.Module()
    module.network = network(weights)
    hidden = module.network.layers[2].output
    module.body = tf_keras.Model(module.network.input, [hidden, module.network.output])
    spec = tf.TensorSpec([batch, *SHAPE], tf.float32, name="pixels")

    @tf.function(input_signature=[spec])
    def serve(pixels: tf.Tensor) -> dict[str, tf.Tensor]:
        hidden, logits = module.body(pixels, training=False)
        return {"hidden": hidden, "logits": logits}

    tf.saved_model.save(module, str(path), {"serving_default": serve})


def open_classes(weights: Weights, path: Path) -> None:
    """The graph does not know the number of classes."""
    module = tf.Module()
    module.network = network(weights)

    @tf.function(input_signature=[tf.TensorSpec([None, *SHAPE], tf.float32)])
    def serve(x: tf.Tensor) -> dict[str, tf.Tensor]:
        logits = module.network(x, training=False)
        return {"logits": tf.reshape(logits, [tf.shape(x)[0], -1])}

    tf.saved_model.save(module, str(path), {"serving_default": serve})


def dictionaries(weights: Weights, path: Path) -> None:
    plain = network(weights)
    outputs = {"hidden": plain.layers[2].output, "logits": plain.output}
    tf_keras.Model({"image": plain.input}, outputs).save(path)


class Subclassed(tf_keras.Model):
    """Keras does not tell the shape of its input."""

    def __init__(self) -> None:
        super().__init__()
        layers = tf_keras.layers
        self.parts = [layers.Flatten(), layers.Dense(8, "relu"), layers.Dense(CLASSES)]

    def call(self, x: tf.Tensor, training: bool = False) -> tf.Tensor:
        for part in self.parts:
            x = part(x)
        return x


def subclassed(weights: Weights, path: Path) -> None:
    model = Subclassed()
    model(np.zeros((1, *SHAPE), np.float32))
    model.set_weights(weights)
    model.save(path, save_format="tf")


def versions(weights: Weights, path: Path) -> None:
    """The ninth version is another network."""
    network([-each for each in weights]).save(path / "9", save_format="tf")
    network(weights).save(path / "10", save_format="tf")


def onnx_of(*shape: int | str) -> Writer:
    def write(weights: Weights, path: Path) -> None:
        from onnx_models import graph, node, saved

        first, first_bias, second, second_bias = weights
        nodes = [
            node("Flatten", "x", "rows"),
            node("Gemm", "rows first first_bias", "sums"),
            node("Relu", "sums", "hidden"),
            node("Gemm", "hidden second second_bias", "y"),
        ]
        named = {"first": first, "first_bias": first_bias, "second": second}
        model = graph(nodes, shape, named | {"second_bias": second_bias})
        saved(model, path.parent, path.name)

    return write


FORMATS: dict[str, Writer] = {
    "keras2.keras": lambda weights, path: network(weights).save(path),
    "keras2.h5": lambda weights, path: network(weights).save(path),
    "keras2_folder": lambda weights, path: network(weights).save(path, save_format="tf"),
    "keras3.keras": keras3,
    "keras3.h5": keras3,
    "keras3_export": keras3,
    "signature": signature,
    "fixed_batch": lambda weights, path: signature(weights, path, batch=7),
    "open_classes": open_classes,
    "dictionaries.keras": dictionaries,
    "subclassed": subclassed,
    "versions": versions,
    "artifact": lambda weights, path: network(weights).save(
        path / "Format-Serving", save_format="tf"
    ),
    "flat.keras": of_shape(SHAPE[0] * SHAPE[1]),
    "no_channels.keras": of_shape(*SHAPE[:2]),
    "channels_first.keras": of_shape(SHAPE[2], *SHAPE[:2]),
    "model.onnx": onnx_of("n", *SHAPE),
    "pytorch.onnx": onnx_of("n", SHAPE[2], *SHAPE[:2]),
    "flat.onnx": onnx_of("n", SHAPE[0] * SHAPE[1]),
    "one_at_a_time.onnx": onnx_of(1, SHAPE[2], *SHAPE[:2]),
}
"""What writes each; the ending of a name is that of the file."""
