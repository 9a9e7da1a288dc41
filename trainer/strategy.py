"""`tf.distribute` strategies by name."""

import tensorflow as tf

from trainer.config import StrategyName


def make_strategy(name: StrategyName) -> tf.distribute.Strategy:
    """The named strategy. Build it first thing in `run_fn`, before any other TensorFlow work.

    one_device: TensorFlow's default strategy: the first GPU, or the CPU where there is none. It does what
    `OneDeviceStrategy` does, but reads its data without a distributed iterator, whose tuning thread cannot
    be switched off (see `trainer.dataset.no_autotune`).
    mirrored: all GPUs of this machine, the weights kept equal by all-reduce (one replica on the CPU
    where there is no GPU).
    """
    for gpu in tf.config.list_physical_devices("GPU"):
        tf.config.experimental.set_memory_growth(gpu, True)  # else one node takes the whole card
    return tf.distribute.MirroredStrategy() if name is StrategyName.MIRRORED else tf.distribute.get_strategy()
