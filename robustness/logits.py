"""Logits of a model, whatever squashes them at its end: what attacks and bounds need, and what it
costs where they cannot be had.

A softmax, sigmoids, or any other increasing function at the end leaves the classes as they are and
hides gradients where it saturates. What stands there is read from the graph, not guessed from
values; it comes off while the model is traced, so that gradients of its own survive.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from foundation.errors import DataError
from robustness.bounds.graph import PASS_ON, RESHAPES, passed_on
from robustness.inlining import CALLS, Inlined
from robustness.types import Images, ImagesTensor, Logits, LogitsTensor, Model

LOGARITHM = (
    "The model gives probabilities, and no softmax operation ends its graph. Attacks use the "
    "logarithm of the probabilities: where they round to 0 or 1 in float32, gradients vanish, "
    "attacks grow weaker than they are on logits, and the accuracies under attack are too high. "
    "Export the model with logits instead."
)
SQUASHED = (
    "All outputs lie between 0 and 1, and nothing that would give them stands at the end of the "
    "graph. If they are probabilities, gradients vanish where they round to 0 or 1, and the "
    "accuracies under attack are too high: export the model with logits."
)
UNREACHED = (
    "No gradient reaches the image: attacks with gradients can find nothing, and the accuracy that "
    "they leave means nothing. Only Square and the bounds say something of this model."
)

SQUASHING = {
    "Softmax": "softmax", "LogSoftmax": "log-softmax", "Sigmoid": "sigmoid", "Tanh": "tanh",
    "Softsign": "softsign", "Softplus": "softplus", "Exp": "exponential", "Erf": "erf",
    "Atan": "arc tangent", "Elu": "ELU", "Selu": "SELU",
}  # fmt: skip
"""Increasing functions of one logit, or of all that leave their order as it is, by operation."""

OF_ALL = {"Softmax", "LogSoftmax"}
"""Those of all logits; of a single one they say nothing."""

STRETCHING = {"Mul", "RealDiv", "AddV2", "Add", "Sub", "Log"}
"""Operations through which a squashing is looked for: a factor and a summand that are numbers."""


@dataclass(frozen=True, kw_only=True)
class Read:
    """A model by its logits.

    model: images to logits [n, classes].
    classes: number of its classes.
    taken_off: what came off its end, the last one first.
    single: whether it has one output, the logit of class 1 against class 0.
    note: what a reader must know; '' where nothing.
    """

    model: Model
    classes: int
    taken_off: tuple[str, ...] = ()
    single: bool = False
    note: str = ""


def as_logits(model: Model, image_shape: tuple[int, int, int], sample: Images) -> Read:
    """The model as a function to logits.

    Args:
        model: images to logits, or to what increases with them; float32 [n, classes], or [n, 1] of
            two classes.
        image_shape: height, width, channels.
        sample: images that tell what the graph does not; at least one.

    Raises:
        DataError: there is no image in the sample; the outputs are none of classes; or an operation
            has no gradient at all.
    """
    if not len(sample):
        raise DataError("without an image nobody can tell logits from probabilities")
    answer = np.asarray(compiled(model)(tf.constant(sample)))
    if answer.ndim != 2 or answer.shape[1] < 1:
        raise DataError(f"expected an output [n, classes], got {list(answer.shape)}")
    logits, taken_off = _unsquashed(model, image_shape)
    if answer.shape[1] == 1:
        return _of_two(logits, taken_off, image_shape)
    note = _doubt(answer) if not taken_off else ""
    if note == LOGARITHM:
        logits = _logarithm(model)
    logits, reached = _differentiable(logits, image_shape)
    note = note if reached else UNREACHED
    return Read(model=logits, classes=answer.shape[1], taken_off=taken_off, note=note)


def compiled(model: Model) -> Callable[[ImagesTensor], LogitsTensor]:
    """The model as one graph for batches of any size."""
    function: Model = tf.function(lambda x: model(x, training=False), reduce_retracing=True)
    return function


def _of_two(logit: Model, taken_off: tuple[str, ...], image_shape: tuple[int, int, int]) -> Read:
    """Two classes from the logit of the second: 0 and z (their softmax is 1 - sigmoid and
    sigmoid)."""
    if OF_ALL & {name for name in SQUASHING if SQUASHING[name] in taken_off}:
        raise DataError(
            f"the model ends in a {taken_off[0]} over one output, which always gives the same; "
            "export it with a sigmoid, or with one output a class"
        )
    columns = tf.constant([[0.0, 1.0]])

    def logits(x: ImagesTensor, training: bool = False) -> LogitsTensor:
        return tf.matmul(logit(x, training=training), columns)

    note = "" if taken_off else ONE_OUTPUT
    model, reached = _differentiable(logits, image_shape)
    note = note if reached else UNREACHED
    return Read(model=model, classes=2, taken_off=taken_off, single=True, note=note)


ONE_OUTPUT = (
    "The model has one output without a sigmoid. It is taken as the logit of class 1: class 1 "
    "where it is above 0. If it is a probability, its boundary is 0.5, and every number here is "
    "wrong."
)


def _doubt(answer: Logits) -> str:
    """What the values say where the graph says nothing."""
    if not np.all(np.isfinite(answer)) or np.any(answer < 0) or np.any(answer > 1):
        return ""
    if np.all(np.abs(answer.sum(axis=1) - 1.0) <= 1e-2):
        return LOGARITHM
    return SQUASHED


def _logarithm(model: Model) -> Model:
    """The logarithm of the probabilities, as far as float32 can tell them from 0."""
    smallest = np.finfo(np.float32).tiny

    def logits(x: ImagesTensor, training: bool = False) -> LogitsTensor:
        return tf.math.log(tf.maximum(model(x, training=training), smallest))

    return logits


def _unsquashed(model: Model, image_shape: tuple[int, int, int]) -> tuple[Model, tuple[str, ...]]:
    """The model without what squashes its output, and what that was."""
    spec = tf.TensorSpec([None, *image_shape], tf.float32)
    whole = tf.function(lambda x: model(x, training=False)).get_concrete_function(spec)
    if _last(whole.outputs[0]).op.type in CALLS:  # what stands at its end is inside of a function
        inlined = Inlined(whole)
        inner = tf.function(lambda x: inlined(x)[0]).get_concrete_function(spec)
        (output,) = inner.outputs
    else:
        inlined, (output,) = None, whole.outputs
    taken_off = behind(output)[1]
    if not taken_off:
        return model, ()

    def logits(x: ImagesTensor, training: bool = False) -> LogitsTensor:
        if tf.executing_eagerly():
            return in_graph(x)
        squashed = inlined(x)[0] if inlined else model(x, training=training)
        front = tf.cast(behind(squashed)[0], tf.float32)
        return front if front.shape.rank == 2 else tf.reshape(front, tf.shape(squashed))

    in_graph = tf.function(logits, reduce_retracing=True)
    return logits, taken_off


def behind(output: tf.Tensor) -> tuple[tf.Tensor, tuple[str, ...]]:
    """The tensor in front of all that squashes an output, and what does, the last one first."""
    tensor, logits = output, output
    taken_off: list[str] = []
    while (operand := _operand(tensor)) is not None:
        if tensor.op.type in OF_ALL and tensor.shape[-1] != output.shape[-1]:
            break  # its classes are not those of the output
        if tensor.op.type in SQUASHING:
            taken_off.append(SQUASHING[tensor.op.type])
            logits = operand
        tensor = operand
    return logits, tuple(taken_off)


def _last(output: tf.Tensor) -> tf.Tensor:
    """The tensor whose operation does something."""
    while output.op.type in PASS_ON | {"Cast"}:
        output = passed_on(output)
    return output


def _operand(tensor: tf.Tensor) -> tf.Tensor | None:
    """What an operation at the end of a model squashes, stretches or passes on; None where it does
    none of these."""
    op = tensor.op
    if op.type in PASS_ON:
        return passed_on(tensor)
    if op.type in SQUASHING:
        return op.inputs[0]
    if op.type == "Cast":
        return op.inputs[0] if op.inputs[0].dtype.is_floating else None
    if op.type in RESHAPES:
        return op.inputs[0]
    return _stretched(op) if op.type in STRETCHING else None


def _stretched(op: tf.Operation) -> tf.Tensor | None:
    """The operand of an operation with a number that leaves the order of the classes as it is."""
    if op.type == "Log":
        return op.inputs[0]
    numbers = [tf.get_static_value(operand) for operand in op.inputs]
    known = [place for place, number in enumerate(numbers) if number is not None]
    if len(known) != 1 or np.size(numbers[known[0]]) != 1:
        return None
    turned = op.type in ("Mul", "RealDiv") and float(numbers[known[0]].item()) <= 0
    if turned or (op.type in ("RealDiv", "Sub") and known == [0]):
        return None
    return op.inputs[1 - known[0]]


def _differentiable(model: Model, image_shape: tuple[int, int, int]) -> tuple[Model, bool]:
    """The model as something that can be differentiated, and whether its image reaches its logits.

    Operations that were put into a graph are seen by the gradient of a function, not by a tape.
    """
    if _is_reached(model, image_shape):
        return model, True
    function = compiled(model)

    def logits(x: ImagesTensor, training: bool = False) -> LogitsTensor:
        return function(x)

    reached = _is_reached(logits, image_shape)
    return (logits if reached else model), reached


def _is_reached(model: Model, image_shape: tuple[int, int, int]) -> bool:
    """Whether there is a gradient for the image; DataError where an operation has none."""
    gradients = []

    def traced(x: ImagesTensor) -> LogitsTensor:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(x)
            logits = model(x, training=False)
        gradients.append(tape.gradient(logits, x))
        return logits

    spec = tf.TensorSpec([None, *image_shape], tf.float32)
    try:
        tf.function(traced, autograph=False).get_concrete_function(spec)
    except (LookupError, TypeError, ValueError, NotImplementedError) as error:
        raise DataError(
            f"the model has no gradient, without which it cannot be attacked: {first_line(error)}"
        ) from error
    return gradients[-1] is not None


def first_line(error: Exception) -> str:
    """The first line of what an error says."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
