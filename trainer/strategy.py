"""`tf.distribute` strategies by name."""

import tensorflow as tf

from trainer.config import StrategyName


def make_strategy(name: StrategyName) -> tf.distribute.Strategy:
    """The named strategy. Build it first thing in `run_fn`, before any other TensorFlow work.

    one_device: the first GPU, or the CPU where there is none. mirrored: all GPUs of this machine,
    the weights kept equal by all-reduce (one replica on the CPU where there is no GPU).
    """
    for gpu in tf.config.list_physical_devices("GPU"):
        tf.config.experimental.set_memory_growth(gpu, True)  # else one node takes the whole card
    if name is StrategyName.MIRRORED:
        return tf.distribute.MirroredStrategy()
    has_gpu = bool(tf.config.list_logical_devices("GPU"))
    return tf.distribute.OneDeviceStrategy("/gpu:0" if has_gpu else "/cpu:0")
