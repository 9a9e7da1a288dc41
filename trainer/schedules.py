"""Learning rate and radius as functions of the optimizer's step count, so that a restart needs no
memory of them."""

import math
from typing import assert_never

import tensorflow as tf
import tf_keras
from jaxtyping import Int64

from robustness.types import ScalarTensor
from trainer.config import Schedule

Step = Int64[tf.Tensor, ""] | Int64[tf.Variable, ""]
"""Number of steps done, as a tensor or as the optimizer keeps it."""

WARM_UP = 0.02
"""Part of the training in which the cosine schedule climbs to its peak."""


class LearningRate(tf_keras.optimizers.schedules.LearningRateSchedule):
    """The learning rate at a step.

    Args:
        schedule: course of the rate, see there.
        peak: the highest rate.
        steps: number of steps of the whole training.
    """

    def __init__(self, schedule: Schedule, peak: float, steps: int) -> None:
        super().__init__()
        self._schedule, self._peak, self._steps = schedule, peak, steps

    def __call__(self, step: Step) -> ScalarTensor:
        done = tf.cast(step, tf.float32) / self._steps
        match self._schedule:
            case Schedule.CONSTANT:
                factor = tf.ones_like(done)
            case Schedule.CYCLIC:
                factor = tf.minimum(done / 0.4, (1 - done) / 0.6)
            case Schedule.DROPS:
                factor = tf.where(done < 0.75, 1.0, tf.where(done < 0.9, 0.2, 0.04))
            case Schedule.COSINE:
                falling = 0.5 * (1 + tf.cos(math.pi * (2 * done - 1)))
                factor = tf.minimum(done / WARM_UP, tf.where(done < 0.5, 1.0, falling))
            case never:
                assert_never(never)
        return self._peak * tf.clip_by_value(factor, 0.0, 1.0)

    def get_config(self) -> dict[str, object]:
        return {"schedule": self._schedule, "peak": self._peak, "steps": self._steps}


def ramp(step: Step, steps: float) -> ScalarTensor:
    """Share of the full radius at a step: it grows evenly from 0 to 1 over `steps` steps."""
    return tf.minimum(1.0, tf.cast(step, tf.float32) / max(steps, 1e-9)) if steps else tf.ones([])
