"""`tf.distribute` strategies by name."""

from typing import assert_never

import tensorflow as tf

from trainer.config import StrategyName


def make_strategy(name: StrategyName) -> tf.distribute.Strategy:
    """The named strategy; build it first thing in `run_fn`.

    one_device: TensorFlow's default strategy: the first GPU, or the CPU where there is none. It does what
    `OneDeviceStrategy` does, but reads its data without a distributed iterator, whose tuning thread cannot
    be switched off (see `trainer.autotune`).
    mirrored: all GPUs of this machine, the weights kept equal by all-reduce (one replica on the CPU
    where there is no GPU).
    """
    match name:
        case StrategyName.ONE_DEVICE:
            return tf.distribute.get_strategy()
        case StrategyName.MIRRORED:
            return tf.distribute.MirroredStrategy()
        case never:
            assert_never(never)
