"""Networks with every layer that has a bound, and their margins."""

import itertools
from collections.abc import Callable

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

SHAPE = (8, 8, 2)
CLASSES = 4
keras = tf_keras.layers


def dense(x: tf.Tensor) -> tf.Tensor:
    return keras.Dense(6, activation="relu")(keras.Flatten()(x))


def convolutions(x: tf.Tensor) -> tf.Tensor:
    x = keras.Conv2D(3, 3, strides=2, padding="same", activation="relu")(x)
    return keras.Flatten()(keras.Conv2D(4, (2, 3), dilation_rate=1, activation="relu")(x))


def max_pooling(x: tf.Tensor) -> tf.Tensor:
    x = keras.MaxPooling2D(3, strides=2, padding="same")(
        keras.Conv2D(3, 3)(x)
    )  # windows overlap, values below 0
    return keras.Flatten()(
        keras.MaxPooling2D(2)(keras.Conv2D(3, 2, padding="same", activation="relu")(x))
    )


def average_pooling(x: tf.Tensor) -> tf.Tensor:
    x = keras.AveragePooling2D(3, strides=2, padding="same")(
        keras.Conv2D(3, 3, activation="relu")(x)
    )
    return keras.GlobalAveragePooling2D()(keras.Conv2D(5, 2, activation="relu")(x))


def normalisation(x: tf.Tensor) -> tf.Tensor:
    x = keras.Rescaling(3.0, offset=-0.4)((x - 0.13) / 0.31)
    x = keras.ReLU()(keras.BatchNormalization()(keras.Conv2D(3, 3, strides=2)(x)))
    return keras.ReLU()(keras.BatchNormalization()(keras.Dense(6)(keras.Flatten()(x))))


def residual(x: tf.Tensor) -> tf.Tensor:
    x = keras.Conv2D(3, 3, padding="same", activation="relu")(keras.ZeroPadding2D(1)(x))
    inner = keras.Conv2D(3, 3, padding="same")(keras.ReLU()(keras.Conv2D(3, 3, padding="same")(x)))
    x = keras.ReLU()(keras.Add()([x, inner]))
    return keras.Flatten()(
        keras.Subtract()([keras.MaxPooling2D(2)(x), keras.AveragePooling2D(2)(x)])
    )


def squashed(x: tf.Tensor) -> tf.Tensor:
    """No ReLU: nothing to optimise, nothing to branch on."""
    x = keras.Conv2D(3, 3, strides=2, activation="tanh")(3 * x - 1)
    return keras.Dense(6, activation="sigmoid")(keras.Flatten()(4 * x))


def smooth(x: tf.Tensor) -> tf.Tensor:
    """Beside ReLUs."""
    x = keras.Conv2D(3, 3, strides=2, activation="swish")(4 * x - 2)
    x = keras.Dense(6, activation="relu")(keras.Flatten()(x))
    return keras.Dense(6, activation="gelu")(x)


def bent(x: tf.Tensor) -> tf.Tensor:
    """All that is made of ReLUs."""
    x = keras.LeakyReLU(0.2)(keras.Conv2D(3, 3, strides=2)(2 * x - 1))
    x = keras.Activation("relu6")(8 * keras.Conv2D(4, 2)(x))
    x = keras.PReLU(alpha_initializer="ones")(keras.Dense(6)(keras.Flatten()(x)))
    x = keras.Lambda(lambda x: tf.clip_by_value(x, -0.5, 0.7))(keras.Dense(6)(x))
    return keras.Lambda(lambda x: tf.maximum(x, 0.0))(keras.Dense(6)(x))


def separable(x: tf.Tensor) -> tf.Tensor:
    """Channels on their own, in groups, and kernels with holes."""
    x = keras.SeparableConv2D(4, 3, depth_multiplier=2, activation="relu")(x)
    x = keras.Conv2D(6, 2, groups=2, padding="same", activation="relu")(x)
    x = keras.Conv2D(3, 2, dilation_rate=2, padding="same", activation="relu")(x)
    return keras.Flatten()(keras.DepthwiseConv2D(2, dilation_rate=(1, 3), activation="relu")(x))


def decoder(x: tf.Tensor) -> tf.Tensor:
    """Down, up by every way, and past both."""
    down = keras.Conv2D(3, 3, strides=2, padding="same", activation="relu")(x)
    up = keras.Conv2DTranspose(3, 3, strides=2, padding="same", activation="relu")(down)
    near = keras.UpSampling2D(2)(down)
    blended = keras.UpSampling2D(2, interpolation="bilinear")(down)
    tiled = keras.Lambda(lambda x: tf.tile(x, [1, 2, 2, 1]))(down)
    x = keras.Concatenate()([x, up, near, blended, tiled])
    x = keras.Lambda(lambda x: tf.concat([tf.ones_like(x[..., :1]), x], axis=-1))(x)
    return 0.3 * keras.GlobalMaxPooling2D()(keras.Conv2D(6, 3, strides=2, activation="relu")(x))


def moved(x: tf.Tensor) -> tf.Tensor:
    """Values that change their places, and sums along axes."""
    x = keras.Permute((2, 3, 1))(keras.ReLU()(keras.Cropping2D(((1, 0), (0, 2)))(2 * x - 1)))
    x = keras.Lambda(lambda x: tf.pad(x, [[0, 0], [1, 1], [1, 0], [0, 0]], "REFLECT"))(x)
    x = keras.Lambda(lambda x: tf.pad(x, [[0, 0], [0, 1], [0, 0], [2, 0]], constant_values=0.3))(x)
    x = keras.Conv2D(6, 3, activation="relu")(x)
    first, second = keras.Lambda(lambda x: tf.split(x, 2, axis=-1))(x)
    third, fourth = keras.Lambda(lambda x: tf.split(x, [2, 4], axis=-1))(x)
    fifth = keras.Lambda(lambda x: tf.slice(x, [0, 1, 0, 0], [-1, -1, 1, 3]))(x)
    rows = keras.Lambda(lambda x: tf.unstack(x, axis=1)[1])(first)
    parts = [
        tf.add_n([first, second, -fourth[..., 1:]])[:, ::2, 0],
        tf.reduce_sum(third, axis=[1, 3]),
        tf.reduce_mean(fifth, axis=2)[:, :, 1],
        tf.matmul(rows, tf.constant([[1.0, -0.5], [0.3, 2.0], [-1.0, 0.4]])),
    ]
    return 0.2 * keras.ReLU()(keras.Concatenate()([keras.Flatten()(part) for part in parts]))


NETWORKS = [
    dense, convolutions, max_pooling, average_pooling, normalisation, residual,
    squashed, smooth, bent, separable, decoder, moved,
]  # fmt: skip
EVERY_NETWORK = pytest.mark.parametrize("body", NETWORKS, ids=lambda body: body.__name__)


def network(body: Callable[[tf.Tensor], tf.Tensor], seed: int = 0) -> tf_keras.Model:
    """A network with random weights, offsets and statistics, all far from their defaults."""
    tf_keras.utils.set_random_seed(seed)
    image = keras.Input(SHAPE)
    model = tf_keras.Model(image, keras.Dense(CLASSES)(body(image)))
    random = np.random.default_rng(seed)
    for variable in model.variables:
        spread = random.uniform(0.5, 1.5, variable.shape) if "variance" in variable.name else 0.3
        noise = random.normal(size=variable.shape) * 0.2 if "variance" not in variable.name else 0.0
        variable.assign(
            variable * spread / 0.3 + noise if "variance" in variable.name else variable + noise
        )
    return model


def images(n: int = 12) -> np.ndarray:
    x = np.random.default_rng(1).uniform(size=(n, *SHAPE)).astype(np.float32)
    x[0], x[1] = 0.0, 1.0  # where the ball is cut
    return x


def margins_at(model: tf_keras.Model, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """logit y - every logit, as the network computes them in float32; infinity at y."""
    logits = model(x, training=False).numpy()
    found = logits[np.arange(len(y)), y][:, None] - logits
    found[np.arange(len(y)), y] = np.inf
    return found


def predictions(model: tf_keras.Model, x: np.ndarray) -> np.ndarray:
    return np.argmax(model(x, training=False).numpy(), axis=1)


def gradient_of_margins(model: tf_keras.Model) -> Callable[..., np.ndarray]:
    @tf.function
    def gradient(x: tf.Tensor, y: tf.Tensor, other: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            tape.watch(x)
            logits = model(x, training=False)
            margin = tf.gather(logits, y, batch_dims=1) - tf.gather(logits, other, batch_dims=1)
        return tape.gradient(margin, x)

    return lambda x, y, other: gradient(tf.constant(x), tf.constant(y), tf.constant(other)).numpy()


TINY = (1, 2, 1)


def tiny_network(
    seed: int, hidden: tuple[int, ...] = (5,)
) -> tuple[tf_keras.Model, list[np.ndarray]]:
    """Two pixels, one or two layers of ReLUs, three classes; and its weights."""
    random = np.random.default_rng(seed)
    sizes = [2, *hidden, 3]
    weights = [
        random.normal(size=shape).astype(np.float32)
        for inputs, outputs in itertools.pairwise(sizes)
        for shape in ((inputs, outputs), (outputs,))
    ]
    layers_of_relus = [keras.Dense(size, activation="relu") for size in hidden]
    model = tf_keras.Sequential(
        [keras.Input(TINY), keras.Flatten(), *layers_of_relus, keras.Dense(3)]
    )
    model.set_weights(weights)
    return model, weights
