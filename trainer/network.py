"""The classifier: images in [0, 1] to logits."""

import tf_keras

from trainer.config import TrainerConfig


def build_network(config: TrainerConfig, image_shape: tuple[int, int, int], classes: int) -> tf_keras.Model:
    """Convolutions with max pooling between them, dense layers, logits.

    With the default config and MNIST this is the network of the NSL tutorial, except that it ends in
    logits: a softmax inside would saturate and hide gradients from an attack.

    Args:
        config: filters, kernel_size, pool_size, dense.
        image_shape: height, width, channels.
        classes: number of logits.

    Returns:
        A functional Keras 2 model; input `image` float32 [n, h, w, c], output float32 [n, classes].
    """
    inputs = tf_keras.Input(shape=image_shape, name="image")
    x = inputs
    for i, filters in enumerate(config.filters):
        if i:
            x = tf_keras.layers.MaxPooling2D(config.pool_size)(x)
        x = tf_keras.layers.Conv2D(filters, config.kernel_size, activation="relu")(x)
    x = tf_keras.layers.Flatten()(x)
    for units in config.dense:
        x = tf_keras.layers.Dense(units, activation="relu")(x)
    return tf_keras.Model(inputs, tf_keras.layers.Dense(classes, name="logits")(x), name="classifier")
