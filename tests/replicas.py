"""Trains every recipe on one device and on several virtual ones, in a process of its own: the number of devices
must be set before TensorFlow starts.

    python tests/replicas.py REPLICAS OUTPUT.npz    (arguments of `run_fn` by name, as JSON on standard input)
"""

import json
import sys
from types import SimpleNamespace

import numpy as np
import tensorflow as tf


def main() -> None:
    """Write the weights after training as `NAME.STRATEGY.PLACE`."""
    replicas, output = int(sys.argv[1]), sys.argv[2]
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * replicas)
    import tf_keras

    from trainer.train import run_fn

    tf.get_logger().setLevel("ERROR")
    # Steps of Adam are as long for a tiny gradient as for a large one, so they would hide a wrong scale and show
    # the rounding in the order of a sum.
    tf_keras.optimizers.Adam = tf_keras.optimizers.SGD

    weights = {}
    for name, arguments in json.load(sys.stdin).items():
        run_fn(SimpleNamespace(**arguments))
        network = tf_keras.models.load_model(arguments["serving_model_dir"], compile=False)
        weights |= {f"{name}.{i}": weight for i, weight in enumerate(network.get_weights())}
    np.savez(output, **weights)


if __name__ == "__main__":
    main()
