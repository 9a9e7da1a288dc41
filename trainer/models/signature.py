"""A SavedModel by its signatures, as a server asks it: no code of Python's is needed, or run.

The graph of a signature is copied into the graph of whoever calls it, without its nested functions:
so attacks, bounds and what takes a squashing off see the operations themselves.
"""

import os
from collections.abc import Callable, Iterator
from typing import Any

import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from foundation.errors import DataError
from foundation.versions import SAVED_MODEL
from robustness.inlining import Inlined, has_loop_of_tensorflow_1, only_to_read
from trainer.models.network import Network, Outputs

SERVING = "serving_default"


def networks_of(path: str, only: str = "") -> list[Network]:
    """One network a signature with one tensor of numbers as its input, `serving_default` first.

    only: name of the one signature that is wanted; '' for all.

    Raises:
        DataError: there is none; the message says what signatures there are.
    """
    loaded = tf.saved_model.load(path)
    signatures = loaded.signatures
    names = sorted(signatures, key=lambda name: (name != SERVING, name))
    wanted = [name for name in names if only in ("", name)]
    networks = [each for name in wanted for each in _networks(name, signatures[name], loaded)]
    if not networks:
        raise DataError(
            f"{path}: expected a signature with one input, a batch of images as numbers; its "
            f"signatures are {'; '.join(map(described, signatures.values())) or 'none'}"
        )
    return networks


def serves_numbers(path: str) -> bool:
    """Whether `serving_default` takes one tensor of floats. It is read in the file, and nothing is
    loaded."""
    content = saved_model_pb2.SavedModel()
    content.ParseFromString(tf.io.gfile.GFile(os.path.join(path, SAVED_MODEL), "rb").read())
    for graph in content.meta_graphs:
        inputs = list(graph.signature_def[SERVING].inputs.values())
        if len(inputs) == 1 and tf.as_dtype(inputs[0].dtype or tf.string).is_floating:
            return True
    return False


def described(signature: Any) -> str:
    """A signature in words: its inputs and outputs, with types and shapes."""
    _, arguments = signature.structured_input_signature
    sides = (arguments, signature.structured_outputs)
    inputs, outputs = (", ".join(map(_spec, side, side.values())) for side in sides)
    return f"{inputs} -> {outputs}"


def _spec(name: str, spec: tf.TensorSpec) -> str:
    return f"{name} {spec.dtype.name} {spec.shape}"


def _networks(name: str, signature: Any, loaded: Any) -> Iterator[Network]:
    _, arguments = signature.structured_input_signature
    if len(arguments) != 1:
        return
    ((argument, spec),) = arguments.items()
    if spec.dtype.is_floating or spec.dtype.is_integer:
        yield Network(
            kind="SavedModel",
            signature=name,
            call=_call_of(name, loaded),
            input_name=argument,
            shape=None if spec.shape.rank is None else tuple(spec.shape),
            dtype=spec.dtype,
        )


def _refused(x: tf.Tensor) -> Outputs:
    raise DataError(
        "it holds a loop of TensorFlow 1, through which no gradient goes here, so that it cannot "
        "be attacked; export the network from TensorFlow 2, or as ONNX without loops"
    )


def _call_of(name: str, loaded: Any) -> Callable[[tf.Tensor], Outputs]:
    """A signature as a function whose operations stand in the caller's graph; one that
    would not run like that is called instead.

    loaded: what its variables live as long as.
    """
    signature = loaded.signatures[name]
    if has_loop_of_tensorflow_1(signature):
        return _refused
    names = sorted(signature.structured_outputs)  # the order of `outputs`
    if only_to_read(signature):
        ((argument, _),) = signature.structured_input_signature[1].items()

        def called(x: tf.Tensor) -> Outputs:
            outputs: Outputs = loaded.signatures[name](**{argument: x})
            return outputs

        return called
    inlined = Inlined(signature)
    return lambda x: dict(zip(names, inlined(x), strict=True))
