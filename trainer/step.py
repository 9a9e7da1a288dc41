"""One training step, as a Keras model: `fit` brings epochs, callbacks and distribution."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypedDict

import tensorflow as tf
import tf_keras
from jaxtyping import Float32, Int64

from robustness.types import ImagesTensor, LabelsTensor, NumbersTensor, ScalarTensor
from trainer.schedules import ramp


@dataclass(frozen=True, kw_only=True)
class Course:
    """A whole training, of which a step is one.

    steps: number of steps. global_batch: number of images a step, over all replicas. l1: weight of
    the sum of the absolute values of all kernels. seed: seed of the noise.
    """

    steps: int
    global_batch: int
    l1: float
    seed: int


class Batch(NamedTuple):
    """What a recipe sees of a training step.

    x: images in [0, 1]. y: labels. noise: uniform in [-1, 1]. epsilon: radius at this step. ramp:
    share of the full radius that it is.
    """

    x: ImagesTensor
    y: LabelsTensor
    noise: ImagesTensor
    epsilon: ScalarTensor
    ramp: ScalarTensor


class ReplicaBatch(TypedDict):
    """A replica's part of the global batch, and the places that its images have in there."""

    image: ImagesTensor
    label: LabelsTensor
    position: LabelsTensor


def uniform_noise(shape: Sequence[int], seed: Int64[tf.Tensor, "2"]) -> Float32[tf.Tensor, "..."]:
    """Values in [-1, 1), the same for the same seed on every device.

    Made from Philox's bits, because TensorFlow's floats are others on a TPU, and wherever XLA
    compiles.
    """
    bits = tf.random.stateless_uniform(
        shape, seed, minval=None, maxval=None, dtype=tf.uint32, alg="philox"
    )
    shifted = tf.bitwise.right_shift(bits, tf.constant(8, tf.uint32))
    return tf.cast(shifted, tf.float32) * 2.0**-23 - 1.0


class RecipeModel(tf_keras.Model):
    """A network in training. Every shape in its step is static and nothing runs on the host.

    The noise of an image depends on the seed, the step and its place in the global batch only, so
    any number of replicas gives the same weights up to rounding.

    Args:
        network: network to be trained.
        neighbours: function from a batch to the images that the loss looks at.
        losses: function from a batch and its neighbours to the loss of every image, which is
            minimised.
        course: the training.
        epsilon: full radius in training.
        ramp_steps: number of steps until it is reached.
    """

    def __init__(
        self,
        network: tf_keras.Model,
        neighbours: Callable[[Batch], ImagesTensor],
        losses: Callable[[Batch, ImagesTensor], NumbersTensor],
        course: Course,
        *,
        epsilon: float,
        ramp_steps: float,
    ) -> None:
        super().__init__()
        self.network, self._neighbours_of, self._losses_of = network, neighbours, losses
        self._course, self._epsilon, self._ramp_steps = course, epsilon, ramp_steps
        self._noise_shape = [course.global_batch, *network.input_shape[1:]]
        self._kernels = [v for v in network.trainable_variables if len(v.shape) > 1]
        self._loss = tf_keras.metrics.Mean(name="loss")

    @property
    def metrics(self) -> list[tf_keras.metrics.Metric]:
        return [self._loss]

    def call(self, inputs: ImagesTensor, training: bool = False) -> tf.Tensor:
        return self.network(inputs, training=training)

    def train_step(self, data: ReplicaBatch) -> dict[str, ScalarTensor]:
        """Keras calls it on every replica."""
        batch = self._batch(data)
        x_adv = tf.stop_gradient(self._neighbours_of(batch))
        with tf.GradientTape() as tape:
            losses = self._losses_of(batch, x_adv)
            loss = tf.reduce_sum(losses) / self._course.global_batch + self._regularisation()
        self.optimizer.minimize(loss, self.network.trainable_variables, tape=tape)
        self._loss.update_state(losses)
        return {"loss": self._loss.result()}

    def _batch(self, data: ReplicaBatch) -> Batch:
        step = self.optimizer.iterations
        seed = tf.stack([tf.constant(self._course.seed, tf.int64), step])
        noise = uniform_noise(self._noise_shape, seed)
        grown = ramp(step, self._ramp_steps)
        return Batch(
            x=data["image"],
            y=data["label"],
            noise=tf.gather(noise, data["position"]),
            epsilon=self._epsilon * grown,
            ramp=grown,
        )

    def _regularisation(self) -> ScalarTensor:
        """This replica's share of L1 and of what the network's own layers ask for."""
        l1 = self._course.l1
        terms = [l1 * tf.reduce_sum(tf.abs(kernel)) for kernel in self._kernels if l1]
        terms += [tf.cast(term, tf.float32) for term in self.network.losses]
        if not terms:
            return tf.zeros([])
        return tf.add_n(terms) / self.distribute_strategy.num_replicas_in_sync
