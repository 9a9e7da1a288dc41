"""A network as its file has it, before it is fitted to images."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import tensorflow as tf

Outputs = Mapping[str, tf.Tensor]
"""The answers of a network by name; where it has one without a name, the name is ''."""


@dataclass(frozen=True, kw_only=True)
class Network:
    """What was read, and how it is asked.

    kind: what a person would call it, such as `Keras 3 model`.
    signature: name of the signature of a SavedModel; '' where the format has none.
    call: function from a tensor of `shape` and `dtype` to all outputs.
    input_name: name of the one input; '' where it has none.
    shape: shape of the input, the batch first; None where an extent, or all of it, is open.
    dtype: type of the input.
    call_images: function from images [n, height, width, channels], for a network whose input is
        their transposition [n, channels, height, width] and that can do without one.
    channels_first: whether that order is meant where the shape fits both.
    files: other files that decide what it computes.
    modules: modules of the user's whose code it runs.
    libraries: packages with their versions, beside those that are always there, that read it.
    """

    kind: str
    signature: str = ""
    call: Callable[[tf.Tensor], Outputs]
    input_name: str = ""
    shape: tuple[int | None, ...] | None
    dtype: tf.DType
    call_images: Callable[[tf.Tensor], Outputs] | None = None
    channels_first: bool = False
    files: tuple[Path, ...] = ()
    modules: tuple[str, ...] = ()
    libraries: tuple[str, ...] = ()
