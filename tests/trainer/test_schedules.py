"""Learning rate and radius: against closed forms."""

import numpy as np
import pytest
import tensorflow as tf

from trainer.config import Schedule
from trainer.schedules import LearningRate, ramp


def closed_form(schedule: Schedule, t: np.ndarray) -> np.ndarray:
    """Share of the peak after shares t of the training."""
    match schedule:
        case Schedule.CONSTANT:
            return np.ones_like(t)
        case Schedule.CYCLIC:
            return np.interp(t, [0, 0.4, 1], [0, 1, 0])
        case Schedule.DROPS:
            return np.select([t < 0.75, t < 0.9], [1, 1 / 5], 1 / 25)
        case Schedule.COSINE:
            return np.select(
                [t < 0.02, t < 0.5], [t / 0.02, 1], (1 + np.cos(2 * np.pi * (t - 0.5))) / 2
            )


@pytest.mark.parametrize("schedule", list(Schedule))
def test_the_rate_follows_its_schedule(schedule: Schedule) -> None:
    rate = LearningRate(schedule, 0.01, 1000)

    @tf.function
    def rates(steps: tf.Tensor) -> tf.Tensor:
        return tf.map_fn(rate, steps, fn_output_signature=tf.float32)

    steps = np.arange(1001)
    expected = 0.01 * closed_form(schedule, steps / 1000)
    np.testing.assert_allclose(rates(steps), expected, atol=1e-7)


def test_the_radius_grows_evenly_and_stays() -> None:
    radii = [ramp(tf.constant(step, tf.int64), 40.0) for step in range(60)]
    np.testing.assert_allclose(radii, np.minimum(np.arange(60) / 40, 1))
    assert ramp(tf.constant(0, tf.int64), 0.0) == 1
