"""Networks of a user's own: one that is right, and what others may get wrong."""

import tensorflow as tf
import tf_keras


def good(image_shape: tuple[int, int, int], classes: int) -> tf_keras.Model:
    layers = tf_keras.layers
    return tf_keras.Sequential([layers.Input(image_shape), layers.Flatten(), layers.Dense(classes)])


def gives_probabilities(image_shape: tuple[int, int, int], classes: int) -> tf_keras.Model:
    model = good(image_shape, classes)
    model.add(tf_keras.layers.Softmax())
    return model


def gives_sigmoids(image_shape: tuple[int, int, int], classes: int) -> tf_keras.Model:
    model = good(image_shape, classes)
    model.add(tf_keras.layers.Activation("sigmoid"))
    return model


def wrong_images(image_shape: tuple[int, int, int], classes: int) -> tf_keras.Model:
    return good((9, 9, 1), classes)


def wrong_classes(image_shape: tuple[int, int, int], classes: int) -> tf_keras.Model:
    return good(image_shape, 7)


def unbuilt(image_shape: tuple[int, int, int], classes: int) -> tf_keras.Model:
    return tf_keras.Sequential([tf_keras.layers.Flatten(), tf_keras.layers.Dense(classes)])


def no_model(image_shape: tuple[int, int, int], classes: int) -> int:
    return 3


def raises(image_shape: tuple[int, int, int], classes: int) -> tf_keras.Model:
    return good((*image_shape, 1), "ten")


class Memory(tf_keras.layers.Layer):
    """Keeps the last image that it was shown."""

    def build(self, shape: tf.TensorShape) -> None:
        self.last = self.add_weight("last", shape[1:], trainable=False)

    def call(self, x: tf.Tensor) -> tf.Tensor:
        self.last.assign(x[0])
        return x


def remembers(image_shape: tuple[int, int, int], classes: int) -> tf_keras.Model:
    return tf_keras.Sequential(
        [
            tf_keras.Input(image_shape),
            Memory(),
            tf_keras.layers.Flatten(),
            tf_keras.layers.Dense(classes),
        ]
    )
