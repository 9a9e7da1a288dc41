"""That a model keeps nothing of what it was asked.

One that does is another model after an attack than before it: it can answer for a changed image as
it did for the original that it was shown first. No verdict on it holds for the copy that is served,
which was shown neither.

TensorFlow marks what reaches beyond a call: operations with a state of their own, or on a resource
or a reference to a variable. Those that only read it, or whose state ends with the call, are named
here; whatever else there is may keep something. The states of random generators are let through: a
model that draws numbers answers otherwise when it is asked again, which `steadiness` says.
"""

import re
from typing import Any

import tensorflow as tf
from tensorflow.core.framework import types_pb2
from tensorflow.python.framework import op_def_registry

from foundation.errors import DataError

KEEPS_NOTHING = re.compile(
    r"StatefulPartitionedCall|While|If|Case|Assert|CheckNumerics(V2)?|DeepCopy|Empty|GuaranteeConst"
    r"|DeviceIndex|CudnnRNN\w*|Print(V2)?|_Arg|_Retval"
    r"|VarHandleOp|Variable(V2)?|VarIsInitializedOp|IsVariableInitialized|VariableShape"
    r"|ReadVariableOp|DisableCopyOnRead|ResourceGather(Nd)?"
    r"|Ref(Enter|Exit|Identity|Merge|NextIteration|Select|Switch)"
    r"|\w*HashTable(OfTensors)?(V2)?|LookupTable(Find|Size|Export)(V2)?"
    r"|TensorArray\w*|Stack(Close|Pop|Push)?(V2)?"
    r"|Random\w+|Stateful(Random|Standard|Truncated|Uniform)\w*|Rng(ReadAndSkip|Skip)|Multinomial"
    r"|NonDeterministicInts|(Parameterized)?TruncatedNormal|SampleDistortedBoundingBox(V2)?"
    r"|StatelessRandomGetAlg"
)
"""Operations with a state that only read it, that draw random numbers, or whose state ends with the
call."""


def keeping(graph: Any) -> list[str]:
    """The operations in a GraphDef, and in the functions that come with it, which may keep
    something for the next call."""
    functions = (node for function in graph.library.function for node in function.node_def)
    names = {node.op for node in (*graph.node, *functions)}
    defined = {function.signature.name for function in graph.library.function}
    return sorted(name for name in names - defined if _may_keep(name))


def _may_keep(name: str) -> bool:
    if KEEPS_NOTHING.fullmatch(name):
        return False
    known = op_def_registry.get(name)
    return (
        known is None
        or known.is_stateful
        or any(
            argument.is_ref or argument.type == types_pb2.DT_RESOURCE
            for argument in known.input_arg
        )
    )


def refuse_memory(model: Any, image_shape: tuple[int, int, int], batch: int | None = None) -> None:
    """Raises DataError for a network that may keep something of the images which it is asked about.

    model: images, float32 [n, height, width, channels], to logits. batch: n, where it is fixed.
    """
    asked = tf.function(lambda x: model(x, training=False), autograph=False)
    spec = tf.TensorSpec([batch, *image_shape], tf.float32)
    _refuse(asked.get_concrete_function(spec).graph.as_graph_def(), "the model")


def refuse_memory_of_signatures(folder: str) -> None:
    """The same for all that a server would ask of a SavedModel."""
    for name, signature in tf.saved_model.load(folder).signatures.items():
        _refuse(signature.graph.as_graph_def(), f"the signature {name}")


def _refuse(graph: Any, what: str) -> None:
    if found := keeping(graph):
        raise DataError(
            f"{what} may keep something of what it is asked ({', '.join(found)}). It can remember "
            "what it was shown, so no verdict on it holds for the copy that is served, which was "
            "not; export it without that, as with training=False (the seed of a random layer of "
            "Keras 3 counts too)"
        )
