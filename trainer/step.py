"""One training step of a recipe, as a Keras model: `fit` brings epochs, callbacks and
distribution."""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf
import tf_keras

from trainer.recipes import Batch, Recipe
from trainer.schedules import ramp


def uniform_noise(shape: Sequence[int], seed: Any) -> tf.Tensor:
    """float32 in [-1, 1), the same for the same seed (int64 [2]) on every device.

    Made from Philox's bits, because TensorFlow's floats are others on a TPU, and wherever XLA
    compiles.
    """
    bits = tf.random.stateless_uniform(
        shape, seed, minval=None, maxval=None, dtype=tf.uint32, alg="philox"
    )
    return (
        tf.cast(tf.bitwise.right_shift(bits, tf.constant(8, tf.uint32)), tf.float32) * 2.0**-23
        - 1.0
    )


class RecipeModel(tf_keras.Model):
    """A network in training by a recipe. Every shape in its step is static and nothing runs on the
    host.

    The noise of an image depends on the seed, the step and its place in the global batch only, so
    any number of replicas gives the same weights up to rounding.

    Args:
        network: what is trained.
        recipe: what is minimised; its `attack_steps` may be changed between two calls of `fit`,
            after `make_train_function(force=True)`.
        epsilon: full radius in training.
        ramp_steps: steps until it is reached.
        global_batch: images a step, over all replicas.
        l1: weight of the sum of the absolute values of all kernels.
        seed: of the noise.
    """

    def __init__(
        self,
        network: tf_keras.Model,
        recipe: Recipe,
        *,
        epsilon: float,
        ramp_steps: float,
        global_batch: int,
        l1: float,
        seed: int,
    ) -> None:
        super().__init__()
        self.network, self.recipe = network, recipe
        self._epsilon, self._ramp_steps, self._l1, self._seed = epsilon, ramp_steps, l1, seed
        self._noise_shape = [global_batch, *network.input_shape[1:]]
        self._global_batch = global_batch
        self._kernels = [v for v in network.trainable_variables if len(v.shape) > 1]
        self._loss = tf_keras.metrics.Mean(name="loss")

    @property
    def metrics(self) -> list[tf_keras.metrics.Metric]:
        return [self._loss]

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        return self.network(inputs, training=training)

    def train_step(self, data: dict[str, tf.Tensor]) -> dict[str, Any]:
        """Keras calls it on every replica.

        Args:
            data: the replica's part of the global batch: `image` float32 [n, h, w, c], `label`
                int64 [n] and `position`, its places in the global batch, int64 [n].
        """
        batch = self._batch(data)
        x_adv = tf.stop_gradient(self.recipe.neighbours(batch))
        with tf.GradientTape() as tape:
            losses = self.recipe.losses(batch, x_adv)
            loss = tf.reduce_sum(losses) / self._global_batch + self._regularisation()
        self.optimizer.minimize(loss, self.network.trainable_variables, tape=tape)
        self._loss.update_state(losses)
        return {"loss": self._loss.result()}

    def _batch(self, data: dict[str, tf.Tensor]) -> Batch:
        step = self.optimizer.iterations
        noise = uniform_noise(self._noise_shape, [tf.cast(self._seed, tf.int64), step])
        grown = ramp(step, self._ramp_steps)
        return Batch(
            x=data["image"],
            y=data["label"],
            noise=tf.gather(noise, data["position"]),
            epsilon=self._epsilon * grown,
            ramp=grown,
        )

    def _regularisation(self) -> tf.Tensor:
        """This replica's share of L1 and of what the network's own layers ask for: float32 []."""
        terms = [self._l1 * tf.reduce_sum(tf.abs(kernel)) for kernel in self._kernels if self._l1]
        terms += [tf.cast(term, tf.float32) for term in self.network.losses]
        return tf.add_n(terms) / self.distribute_strategy.num_replicas_in_sync if terms else 0.0
