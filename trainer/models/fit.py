"""Images in the form that a network takes: its axes, its type, its pixels, its batches.

The data knows the shape of an image. A network that takes the same numbers in another form is
fitted to it, and what was done is said; any other is refused.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import tensorflow as tf

from foundation.errors import DataError
from robustness.types import ImagesTensor, LogitsTensor, Model
from trainer.models.network import Network, Outputs
from trainer.models.pixels import Pixels

Shape = tuple[int | None, ...]
ImageShape = tuple[int, int, int]


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """A network that takes images.

    call: function from images in [0, 1] to all outputs; where `batch` is fixed, of so many images.
    image_shape: height, width, channels.
    batch: images that it takes at a time; None for any number.
    channels: where the network has them: `last`, `first`, or `none` where there is no such axis.
    said: what was done, a sentence each.
    """

    call: Callable[[ImagesTensor], Outputs]
    image_shape: ImageShape
    batch: int | None = None
    channels: str = "last"
    said: tuple[str, ...] = field(default=())


def fitted(network: Network, image_shape: ImageShape | None, pixels: Pixels) -> Fitted:
    """The network as a function of images.

    Args:
        network: what was read.
        image_shape: height, width, channels of the data; None takes what the network says.
        pixels: what it takes for black and white.

    Raises:
        DataError: it takes other images, or numbers that no gradient reaches.
    """
    if not network.dtype.is_floating:
        raise DataError(
            f"it takes {network.dtype.name}, which no gradient reaches: no attack can be made "
            "with gradients, and no number would mean anything; export it with a float input"
        )
    axes = None if network.shape is None else network.shape[1:]
    if image_shape is None:
        image_shape = _own_shape(axes)
    form = _form(axes, image_shape, network.channels_first)
    channels, call = form.channels, network.call
    if form.channels == "first" and network.call_images:
        call, form = network.call_images, _AS_IT_IS
    batch = None if network.shape is None else network.shape[0]
    said = _said(axes, image_shape)
    if batch is not None:
        said.append(f"it takes {batch} images at a time, and is asked so often")

    def outputs(x: ImagesTensor) -> Outputs:
        return call(form.of(tf.cast(_scaled(x, pixels), network.dtype)))

    return Fitted(
        call=outputs, image_shape=image_shape, batch=batch, channels=channels, said=tuple(said)
    )


@dataclass(frozen=True)
class Form:
    """How the axes of an image become those of an input."""

    channels: str
    of: Callable[[tf.Tensor], tf.Tensor]


_AS_IT_IS = Form("last", lambda x: x)


def _own_shape(axes: Shape | None) -> ImageShape:
    if axes is None or len(axes) != 3 or None in axes:
        shape = None if axes is None else (None, *axes)
        raise DataError(f"expected one input of images of a fixed shape [n, h, w, c], got {shape}")
    height, width, channels = axes
    return height or 0, width or 0, channels or 0


def _form(axes: Shape | None, image_shape: ImageShape, channels_first: bool) -> Form:
    """Raises DataError where the input takes other images. channels_first: what is meant where both
    orders agree."""
    height, width, channels = image_shape
    if axes is None:
        return _AS_IT_IS
    first = _agree(axes, (channels, height, width))
    last = _agree(axes, image_shape)
    if first and (channels_first or not last):
        return Form("first", lambda x: tf.transpose(x, [0, 3, 1, 2]))
    if last:
        return _AS_IT_IS
    if channels == 1 and _agree(axes, (height, width)):
        return Form("none", lambda x: tf.squeeze(x, axis=3))
    if _agree(axes, (height * width * channels,)):
        return Form("none", lambda x: tf.reshape(x, [-1, height * width * channels]))
    raise DataError(
        f"the model takes images of shape {_shown(axes)}, the data has {_shown(image_shape)} "
        "(height, width, channels)"
    )


def _agree(axes: Shape, extents: Sequence[int]) -> bool:
    """Whether every extent is the one that is wanted, or open."""
    return len(axes) == len(extents) and all(
        axis in (None, extent) for axis, extent in zip(axes, extents, strict=True)
    )


def _said(axes: Shape | None, image_shape: ImageShape) -> list[str]:
    """What a reader cannot know of how the axes were fitted."""
    if axes is None or None in axes:
        return [f"it leaves the shape of an image open, and is asked with {_shown(image_shape)}"]
    if len(axes) == 2:
        return ["it takes grey images without an axis of channels"]
    if len(axes) == 1:
        return ["it takes all pixels in a row, by rows, columns and channels"]
    return []


def _shown(shape: Sequence[int | None]) -> str:
    return f"({', '.join('open' if extent is None else str(extent) for extent in shape)})"


def _scaled(x: ImagesTensor, pixels: Pixels) -> tf.Tensor:
    black, white = pixels.ends
    if black:
        return x * (white - black) + black
    return x * white if white != 1 else x  # nothing is added to the graph without a need


def in_batches(model: Model, x: ImagesTensor, batch: int) -> LogitsTensor:
    """Logits of a model that takes batches of one size: the last one is filled with zeros."""
    count = tf.shape(x)[0]
    rows = tf.concat([x, tf.zeros([-count % batch, *x.shape[1:]])], axis=0)
    parts = tf.reshape(rows, [-1, batch, *x.shape[1:]])
    answers = tf.map_fn(
        lambda part: model(part, training=False),
        parts,
        parallel_iterations=1,
        fn_output_signature=tf.float32,
    )
    return tf.reshape(answers, tf.concat([[-1], tf.shape(answers)[2:]], 0))[:count]
