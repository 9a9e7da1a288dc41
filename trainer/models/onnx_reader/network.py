"""An ONNX file as a network."""

from pathlib import Path

import tensorflow as tf

from trainer.models.network import Network
from trainer.models.onnx_reader.file import read_graph
from trainer.models.onnx_reader.model import OnnxModel

IMAGES = 4
"""Axes of an input that may be images with their channels first."""


def onnx_network(path: Path) -> Network:
    """The network of an `.onnx` file; raises DataError where it cannot be read."""
    graph = read_graph(path)
    import onnx  # which `read_graph` found

    model = OnnxModel(graph, channels_last_images=False)
    four = len(model.input_shape) == IMAGES
    # What a file says of one image holds for any number (see `values`), also where its batch is
    # fixed, as PyTorch exports it.
    return Network(
        kind="ONNX file",
        call=model,
        call_images=OnnxModel(graph, channels_last_images=True) if four else None,
        input_name=model.input_name,
        shape=(None, *model.input_shape[1:]),
        dtype=tf.as_dtype(model.input_dtype),
        channels_first=True,
        files=model.files,
        libraries=(f"onnx=={onnx.__version__}",),
    )
