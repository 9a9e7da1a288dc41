"""Logits of a model, whatever squashes them at its end: what attacks and bounds need, and what it
costs where they cannot be had.

A softmax, sigmoids, or any other increasing function at the end leaves the classes as they are and
hides gradients where it saturates. What stands there is read from the graph, not guessed from
values; it comes off while the model is traced, so that gradients of its own survive.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from foundation.errors import DataError
from robustness.bounds.graph import PASS_ON, RESHAPES, passed_on
from robustness.inlining import Inlined, has_calls, inlined, only_to_read
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

FLATTENED = (
    "The outputs go through {} at the end, which is flat somewhere and could not be taken off: "
    "gradients vanish there, and the accuracies under attack may be too high. Export the model "
    "with logits."
)
UNREAD = (
    "What stands at the end of the model cannot be read from its graph. If it gives probabilities, "
    "gradients vanish where they round to 0 or 1, and the accuracies under attack are too high."
)
KEPT = (
    "The model ends in {}, which could not be taken off, because the function around it is "
    "compiled as a whole: where it saturates, gradients vanish, and the accuracies under attack "
    "are too high. Export the model with logits."
)

FLAT = {"Relu", "Relu6", "Minimum", "Maximum", "ClipByValue", "Sign", "Floor", "Round", "Rint"}
"""Operations that are flat somewhere, and no increasing functions."""

MOVING = {"Neg", "Cast", "StridedSlice", "GatherV2", "Transpose"}
JOINING = {"Pack", "BiasAdd"}

STRETCHING = {"Mul", "RealDiv", "AddV2", "Add", "Sub", "Log"}
"""Operations through which a squashing is looked for: a factor and a summand that are numbers."""


@dataclass(frozen=True, kw_only=True)
class Read:
    """A model by its logits.

    model: images to logits [n, classes].
    classes: number of its classes.
    taken_off: what came off its end, the last one first.
    single: whether it has one output, the logit of class 1 against class 0.
    notes: what a reader must know.
    """

    model: Model
    classes: int
    taken_off: tuple[str, ...] = ()
    single: bool = False
    notes: tuple[str, ...] = ()


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
    logits, taken_off, notes = _unsquashed(model, image_shape)
    if answer.shape[1] == 1:
        return _of_two(logits, taken_off, notes, answer, image_shape, sample)
    if not taken_off:
        notes += _doubts(answer)
    if LOGARITHM in notes:
        logits, notes = _logarithm(model), (LOGARITHM,)
    logits, reached = _differentiable(logits, image_shape, sample)
    return Read(
        model=logits,
        classes=answer.shape[1],
        taken_off=taken_off,
        notes=notes if reached else (*notes, UNREACHED),
    )


def compiled(model: Model) -> Callable[[ImagesTensor], LogitsTensor]:
    """The model as one graph for batches of any size."""
    function: Model = tf.function(lambda x: model(x, training=False), reduce_retracing=True)
    return function


def _of_two(
    logit: Model,
    taken_off: tuple[str, ...],
    notes: tuple[str, ...],
    answer: Logits,
    image_shape: tuple[int, int, int],
    sample: Images,
) -> Read:
    """Two classes from the logit of the second: 0 and z (their softmax is 1 - sigmoid and
    sigmoid)."""
    if {"softmax", "log-softmax"} & set(taken_off):
        raise DataError(
            f"the model ends in a {taken_off[0]} over one output, which always gives the same; "
            "export it with a sigmoid, or with one output a class"
        )
    if not taken_off and np.all((answer >= 0) & (answer <= 1)):
        raise DataError(
            "the model has one output, between 0 and 1 for all images, and no sigmoid at the end "
            "of its graph: whether its boundary is 0 or 0.5 cannot be told; export it with the "
            "logit, or with a sigmoid as its last operation"
        )
    columns = tf.constant([[0.0, 1.0]])

    def logits(x: ImagesTensor, training: bool = False) -> LogitsTensor:
        return tf.matmul(logit(x, training=training), columns)

    model, reached = _differentiable(logits, image_shape, sample)
    if not taken_off:
        notes += (ONE_OUTPUT,)
    if not reached:
        notes += (UNREACHED,)
    return Read(model=model, classes=2, taken_off=taken_off, single=True, notes=notes)


ONE_OUTPUT = (
    "The model has one output without a sigmoid. It is taken as the logit of class 1: class 1 "
    "where it is above 0."
)


def _doubts(answer: Logits) -> tuple[str, ...]:
    """What the values say where the graph says nothing."""
    if not np.all(np.isfinite(answer)) or np.any(answer < 0) or np.any(answer > 1):
        return ()
    if np.all(np.abs(answer.sum(axis=1) - 1.0) <= 1e-2):
        return (LOGARITHM,)
    return (SQUASHED,)


def _logarithm(model: Model) -> Model:
    """The logarithm of the probabilities, as far as float32 can tell them from 0."""
    smallest = np.finfo(np.float32).tiny

    def logits(x: ImagesTensor, training: bool = False) -> LogitsTensor:
        return tf.math.log(tf.maximum(model(x, training=training), smallest))

    return logits


def _unsquashed(
    model: Model, image_shape: tuple[int, int, int]
) -> tuple[Model, tuple[str, ...], tuple[str, ...]]:
    """The model without what squashes its output, what that was, and notes on what stays."""
    spec = tf.TensorSpec([None, *image_shape], tf.float32)
    whole = tf.function(lambda x: model(x, training=False)).get_concrete_function(spec)
    flat = inlined(whole, spec)
    if has_calls(flat):
        return model, (), (UNREAD,)
    end = behind(flat.outputs[0])
    notes = (FLATTENED.format(end.flat),) if end.flat else ()
    if not end.taken_off:
        return model, (), notes
    if only_to_read(whole) and behind(whole.outputs[0]).taken_off != end.taken_off:
        return model, (), (*notes, KEPT.format(" and ".join(end.taken_off)))
    body = Inlined(whole) if has_calls(whole) and not only_to_read(whole) else None

    def logits(x: ImagesTensor, training: bool = False) -> LogitsTensor:
        if tf.executing_eagerly():
            return in_graph(x)
        squashed = body(x)[0] if body else model(x, training=training)
        found = behind(squashed)
        front = found.sign * tf.cast(found.logits, tf.float32)
        return front if front.shape.rank == 2 else tf.reshape(front, tf.shape(squashed))

    in_graph = tf.function(logits, reduce_retracing=True, autograph=False)
    return logits, end.taken_off, notes


@dataclass(frozen=True, kw_only=True)
class End:
    """The end of a graph.

    logits: tensor in front of all that squashes the output. sign: -1.0 where the output falls as
    the logits rise. taken_off: what squashes, the last one first. flat: what in front of the logits
    is flat somewhere and stays; '' where nothing.
    """

    logits: tf.Tensor
    sign: float
    taken_off: tuple[str, ...]
    flat: str


@tf.autograph.experimental.do_not_convert  # type: ignore[untyped-decorator]
def behind(output: tf.Tensor) -> End:
    """What stands at the end of a graph."""
    tensor, sign = output, 1.0
    logits, logits_sign = output, 1.0
    taken_off: list[str] = []
    while (step := _operand(tensor)) is not None:
        if tensor.op.type in OF_ALL and tensor.shape[-1] != output.shape[-1]:
            break  # its classes are not those of the output
        operand, turned = step
        sign *= turned
        if tensor.op.type in SQUASHING:
            taken_off.append(SQUASHING[tensor.op.type])
            logits, logits_sign = operand, sign
        tensor = operand
    return End(
        logits=logits, sign=logits_sign, taken_off=tuple(taken_off), flat=_flat_before(logits)
    )


def _flat_before(tensor: tf.Tensor) -> str:
    """A function that is flat somewhere, among what only moves, stretches and joins values in front
    of a tensor."""
    todo, seen = [tensor], set()
    while todo:
        tensor = todo.pop()
        op = tensor.op
        if tensor.name in seen:
            continue
        seen.add(tensor.name)
        if op.type in SQUASHING or op.type in FLAT:
            return SQUASHING.get(str(op.type), str(op.type))
        todo += _values(tensor)
    return ""


def _values(tensor: tf.Tensor) -> list[tf.Tensor]:
    """The operands whose values an operation moves, stretches and joins; not those that only say
    where to (a shape, an axis, indices), nor those that a gradient of its own reads."""
    op = tensor.op
    if op.type in PASS_ON:
        return [passed_on(tensor)]
    if op.type == "ConcatV2":
        return list(op.inputs)[:-1]
    if op.type in STRETCHING or op.type in JOINING:
        return list(op.inputs)
    return [op.inputs[0]] if op.type in RESHAPES or op.type in MOVING else []


def _operand(tensor: tf.Tensor) -> tuple[tf.Tensor, float] | None:
    """What an operation at the end of a model squashes, stretches or passes on, and 1.0, or -1.0
    where it turns the order; None where it does none of these."""
    op = tensor.op
    if op.type in PASS_ON:
        return passed_on(tensor), 1.0
    if op.type in SQUASHING or op.type in RESHAPES:
        return op.inputs[0], 1.0
    if op.type == "Neg":
        return op.inputs[0], -1.0
    if op.type == "Cast":
        return (op.inputs[0], 1.0) if op.inputs[0].dtype.is_floating else None
    return _stretched(op) if op.type in STRETCHING else None


def _stretched(op: tf.Operation) -> tuple[tf.Tensor, float] | None:
    """The operand of an operation with a number that keeps, or turns, the order of the classes."""
    if op.type == "Log":
        return op.inputs[0], 1.0
    numbers = [tf.get_static_value(operand) for operand in op.inputs]
    known = [place for place, number in enumerate(numbers) if number is not None]
    if len(known) != 1:
        return None
    (place,) = known
    number = np.unique(np.asarray(numbers[place], np.float64))
    if number.size != 1 or not np.isfinite(number[0]):
        return None
    factor = op.type in ("Mul", "RealDiv")
    if (factor and number[0] == 0) or (op.type == "RealDiv" and place == 0):
        return None
    turned = (factor and number[0] < 0) or (op.type == "Sub" and place == 0)
    return op.inputs[1 - place], -1.0 if turned else 1.0


def _differentiable(
    model: Model, image_shape: tuple[int, int, int], sample: Images
) -> tuple[Model, bool]:
    """The model as something that can be differentiated, and whether its image reaches its logits.

    Operations that were put into a graph are seen by the gradient of a function, not by a tape.
    """
    if _is_reached(model, image_shape, sample):
        return model, True
    function = compiled(model)

    def logits(x: ImagesTensor, training: bool = False) -> LogitsTensor:
        found = function(x)
        # A loop or a branch loses the number of rows.
        return tf.ensure_shape(found, [x.shape[0], found.shape[1]])

    reached = _is_reached(logits, image_shape, sample)
    return (logits if reached else model), reached


def _is_reached(model: Model, image_shape: tuple[int, int, int], sample: Images) -> bool:
    """Whether there is a gradient for the image; DataError where an operation has none, or none on
    this machine."""
    reached = []

    def gradient(x: ImagesTensor) -> ImagesTensor:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(x)
            logits = model(x, training=False)
        slope = tape.gradient(logits, x)
        reached.append(slope is not None)
        return x if slope is None else slope

    spec = tf.TensorSpec([None, *image_shape], tf.float32)
    try:
        tf.function(gradient, input_signature=[spec], autograph=False)(tf.constant(sample[:1]))
    except (LookupError, NotImplementedError, TypeError, ValueError, tf.errors.OpError) as error:
        raise DataError(
            f"the model has no gradient, without which it cannot be attacked: {first_line(error)}"
        ) from error
    return reached[-1]


def first_line(error: BaseException) -> str:
    """The line of an error that names its cause, in front of which, and behind which, TensorFlow
    and Keras say where it happened and with what."""
    text = NOISE.sub("", str(error)).rpartition("Exception encountered: ")[2]
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    named = [place for place, line in enumerate(lines) if NAMED.match(line)]
    if named and lines[0] == "in user code:":
        lines = [NAMED.sub("", lines[named[-1]]), *lines[named[-1] + 1 :]]
    told = [line for line in lines if not line.endswith(":") and not line.startswith(AROUND)]
    if told or lines:
        return (told or lines)[0].partition(" Full object config: ")[0]
    within = error.__cause__ or error.__context__
    return first_line(within) if within else type(error).__name__


NOISE = re.compile(r"\x1b\[\d*m|\{\{function_node [^}]*\}\} ?")
"""Colours, and names of functions that nobody gave."""

NAMED = re.compile(r"[A-Za-z_.]*(Error|Exception): ")

AROUND = (
    *("Exception encountered when calling", "•", 'File "', "<stack traces", "Detected at node"),
    *("Node: ", "[[{{"),
)
"""Beginnings of lines that say where, and with what."""
