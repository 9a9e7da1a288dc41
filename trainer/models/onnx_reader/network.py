"""An ONNX file as a network."""

from pathlib import Path

import tensorflow as tf

from trainer.models.network import Network
from trainer.models.onnx_reader.model import read_onnx


def onnx_network(path: Path) -> Network:
    """The network of an `.onnx` file; raises DataError where it cannot be read."""
    model, of_images = read_onnx(path), read_onnx(path, channels_last_images=True)
    return Network(
        kind="ONNX file",
        call=model,
        call_images=of_images,
        input_name=model.input_name,
        shape=model.input_shape,
        dtype=tf.as_dtype(model.input_dtype),
    )
