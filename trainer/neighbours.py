"""Adversarial neighbours of a training batch, by Neural Structured Learning's gradient step.

They are made outside the tape of the weights and unrolled. NSL takes the step; the random start and
the projection into the ball are `robustness`'s, because NSL's start draws from the device's
generator, so that the weights would depend on the number of devices.
"""

from collections.abc import Callable

import tensorflow as tf

from robustness.ball import image_norm, project_to
from robustness.config import PGD_REACH, Norm
from robustness.types import ImagesTensor, NumbersTensor, ScalarTensor
from trainer.nsl import import_nsl

FAST_STEP = 1.25
"""Length of a single step over the radius (Wong et al. 2020)."""

LOSS_SCALE = 1024.0
"""In float16 the gradient of an image that the network is sure of would vanish. NSL normalises it
afterwards, and a power of two changes no other digit."""


Loss = Callable[[ImagesTensor], NumbersTensor | ScalarTensor]
"""The loss of each image, or their mean."""


def neighbours(
    loss: Loss, x: ImagesTensor, noise: ImagesTensor, norm: Norm, epsilon: ScalarTensor, steps: int
) -> ImagesTensor:
    """Images of the ball that maximise a loss, by gradient steps from a random start.

    One step begins at the noise as it is, outside [0, 1] too (Wong et al. 2020): cut first, a start
    in a black pixel would hardly be random, and single-step training overfits to that. Several
    steps begin inside.

    Args:
        loss: function of images.
        x: images in [0, 1].
        noise: uniform in [-1, 1].
        norm, epsilon: the ball.
        steps: number of gradient steps.

    Returns:
        Images inside the ball and [0, 1], without a gradient.
    """
    nsl = import_nsl()
    step_size = epsilon * (FAST_STEP if steps == 1 else PGD_REACH / steps)
    step = nsl.configs.AdvNeighborConfig(
        adv_step_size=step_size, adv_grad_norm="infinity" if norm is Norm.LINF else "l2"
    )
    x_adv = x + epsilon * (noise if norm is Norm.LINF else _inside_l2(noise))
    for i in range(steps):
        x_adv = project_to(x_adv, x, norm, epsilon) if i else x_adv
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(x_adv)
            value = LOSS_SCALE * loss(x_adv)
        x_adv, _ = nsl.lib.gen_adv_neighbor(x_adv, value, step, gradient_tape=tape)
    return tf.stop_gradient(project_to(x_adv, x, norm, epsilon))


def _inside_l2(noise: ImagesTensor) -> ImagesTensor:
    """The direction of the noise, with a length in [0, 1] that its first value decides."""
    length = image_norm(noise, Norm.L2)[:, None, None, None]
    return noise / tf.maximum(length, 1e-12) * tf.abs(noise[:, :1, :1, :1])
