"""Which output of a file is judged: its logits, or what comes closest to them.

Where two would do, the choice is the user's: an embedding judged as logits gives numbers that mean
nothing, and nobody sees it.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import tensorflow as tf

from foundation.errors import DataError, RefusedData
from robustness.logits import first_line
from robustness.types import Images, ImagesTensor, Logits, LogitsTensor
from trainer.models.fit import Fitted, ImageShape, fitted
from trainer.models.network import Network
from trainer.models.pixels import Pixels
from trainer.models.signature import SERVING

LOGITS = "logits"
"""Name of an output that wins over all others."""

SAMPLE = 8
"""Images that a network is asked with to see what it gives."""


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What a model shall be asked with, and what a guess would be needed for.

    image_shape: height, width, channels of the data; None takes what the model says.
    sample: images of the data, which tell what a graph does not; None takes noise.
    classes: number of the data's classes; None where it is not known.
    signature: `NAME`, `NAME:OUTPUT` or `:OUTPUT`; '' leaves the choice to `chosen`.
    pixels: what the model takes for black and white.
    trust: whether code that lies in the file may run.
    """

    image_shape: ImageShape | None = None
    sample: Images | None = None
    classes: int | None = None
    signature: str = ""
    pixels: Pixels = Pixels.UNIT
    trust: bool = False


@dataclass(frozen=True, kw_only=True)
class Asked:
    """An output of a network, which was asked with `sample`. answer: what it gave, [images, k]."""

    network: Network
    fitted: Fitted
    output: str
    dtype: str
    sample: Images
    answer: Logits

    @cached_property
    def model(self) -> "OneOutput":
        """Images to this output, float32 [n, k]."""
        return OneOutput(self.fitted, self.output, self.answer.shape[1])

    def __str__(self) -> str:
        name = f"{self.network.signature}:{self.output}".strip(":")
        return f"{name or 'the output'} [n, {self.answer.shape[1]}]"


class OneOutput:
    """One output of a fitted network as a matrix of float32."""

    def __init__(self, network: Fitted, output: str, columns: int) -> None:
        self._network, self._output, self._columns = network, output, columns

    def __call__(self, x: ImagesTensor, training: bool = False) -> LogitsTensor:
        shape = [None, *self._network.image_shape]
        answer = tf.cast(self._network.call(tf.ensure_shape(x, shape))[self._output], tf.float32)
        if answer.shape.rank != 2:
            answer = tf.reshape(answer, [-1, self._columns])
        return tf.ensure_shape(answer, [None, self._columns])


def chosen(networks: list[Network], wanted: Wanted) -> Asked:
    """The output that is judged: the one that was asked for, otherwise of `serving_default`, and
    there `logits` before any other.

    Raises:
        DataError: no output can be one of classes, or several can. RefusedData: it knows too few
            classes.
    """
    outputs: list[Asked] = []
    refusals: list[str] = []
    for network in networks:
        try:
            outputs += _asked(network, wanted)
        except DataError as error:
            prefix = f"signature {network.signature}: " if network.signature else ""
            refusals.append(f"{prefix}{error}")
    if not outputs:
        raise DataError("; ".join(refusals))
    outputs = _preferred(outputs, wanted)
    if len(outputs) > 1:
        raise DataError(
            f"several outputs may be the logits: {', '.join(map(str, outputs))}; name one with "
            "--signature NAME:OUTPUT (or :OUTPUT where there is no signature)"
        )
    columns = outputs[0].answer.shape[1]
    if wanted.classes is not None and max(columns, 2) < wanted.classes:
        told = ", which tells two classes apart," if columns == 1 else ""
        raise RefusedData(
            f"{outputs[0]}{told} gives fewer classes than the data has: {wanted.classes}; expected "
            "an output [n, k] with k above the largest label"
        )
    return outputs[0]


def _preferred(outputs: list[Asked], wanted: Wanted) -> list[Asked]:
    """Those that are left after each rule that leaves any."""
    rules = (
        lambda asked: asked.network.signature == SERVING,
        lambda asked: asked.output == LOGITS,
        lambda asked: asked.answer.shape[1] == wanted.classes,
    )
    for rule in rules:
        outputs = list(filter(rule, outputs)) or outputs
    return outputs


def _asked(network: Network, wanted: Wanted) -> list[Asked]:
    """The outputs of a network that may be logits of classes.

    Raises:
        DataError: it takes other images, cannot be asked, or has no such output.
    """
    ready = fitted(network, wanted.image_shape, wanted.pixels)
    sample = _sample(wanted, ready.image_shape, ready.batch or SAMPLE)
    try:
        answers = tf.function(ready.call)(tf.constant(sample))
    except Exception as error:
        raise DataError(f"it fails on images: {first_line(error)}") from error
    name = wanted.signature.partition(":")[2]
    outputs = [
        Asked(
            network=network,
            fitted=ready,
            output=output,
            dtype=answer.dtype.name,
            sample=sample,
            answer=_matrix(answer),
        )
        for output, answer in answers.items()
        if name in ("", output) and _may_be_logits(answer, len(sample))
    ]
    if not outputs:
        found = ", ".join(
            f"{n or 'one'} {a.dtype.name} {list(a.shape)}" for n, a in answers.items()
        )
        raise DataError(
            f"expected an output of logits, float [n, k]{f', named {name}' if name else ''}; "
            f"{len(sample)} images give {found}"
        )
    return outputs


def _sample(wanted: Wanted, image_shape: ImageShape, count: int) -> Images:
    """Images of the data as often as they are needed, or noise."""
    if wanted.sample is not None:
        return wanted.sample[np.arange(count) % len(wanted.sample)]
    noise = np.random.default_rng(0).uniform(size=(count, *image_shape))
    return noise.astype(np.float32)


def _may_be_logits(answer: tf.Tensor, images: int) -> bool:
    """Whether there is one row an image, apart from axes of one place."""
    extents = list(answer.shape)
    long = [extent for extent in extents[1:] if extent > 1]
    return answer.dtype.is_floating and extents[:1] == [images] and len(long) <= 1


def _matrix(answer: tf.Tensor) -> Logits:
    return np.asarray(tf.cast(tf.reshape(answer, [answer.shape[0], -1]), tf.float32))
