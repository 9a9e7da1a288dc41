"""Recipes: what each defence minimises. A recipe makes neighbours of a batch and gives the loss of
every image.

Neighbours come from `trainer.neighbours`, outside the tape of the weights; the loss is computed
inside it.
Only `tutorial` is missing here: it is NSL's own Keras model (`trainer.nsl`).
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, NamedTuple, assert_never

import tensorflow as tf
import tf_keras

from foundation.errors import ConfigError
from robustness.bounds.trace import NoBoundError
from robustness.bounds.training import TrainingBounds
from robustness.config import Norm, ThreatModel
from robustness.losses import cross_entropy
from trainer.config import CERTIFIED_RECIPES, RecipeConfig, RecipeName
from trainer.neighbours import neighbours


class Batch(NamedTuple):
    """What a recipe sees of a training step.

    x: float32 [n, h, w, c] in [0, 1]. y: int64 [n]. noise: float32 [n, h, w, c], uniform in [-1,
        1].
    epsilon: float32 [], the radius at this step of the ramp. ramp: float32 [], its part of the full
        radius.
    """

    x: tf.Tensor
    y: tf.Tensor
    noise: tf.Tensor
    epsilon: tf.Tensor
    ramp: tf.Tensor


class Recipe(ABC):
    """A defence of one network. attack_steps: gradient steps of a neighbour; 0 where there is
    none."""

    attack_steps = 0

    def neighbours(self, batch: Batch) -> tf.Tensor:
        """The images that the loss looks at: float32 [n, h, w, c]; the clean ones where nothing is
        attacked."""
        return batch.x

    @abstractmethod
    def losses(self, batch: Batch, x_adv: tf.Tensor) -> tf.Tensor:
        """Loss of every image: float32 [n]."""


@dataclass(kw_only=True)
class Undefended(Recipe):
    """Cross-entropy of the clean images."""

    network: tf_keras.Model

    def losses(self, batch: Batch, x_adv: tf.Tensor) -> tf.Tensor:
        return cross_entropy(self.network(x_adv, training=True), batch.y)


@dataclass(kw_only=True)
class Adversarial(Recipe):
    """Cross-entropy of the attacked images, as the recipe `fast` (Wong et al. 2020) with one step
    from a random start, as `pgd` (Madry et al. 2018) with several."""

    network: tf_keras.Model
    norm: Norm
    attack_steps: int

    def neighbours(self, batch: Batch) -> tf.Tensor:
        def loss(x: tf.Tensor) -> tf.Tensor:
            return cross_entropy(self.network(x, training=False), batch.y)

        return neighbours(loss, batch.x, batch.noise, self.norm, batch.epsilon, self.attack_steps)

    def losses(self, batch: Batch, x_adv: tf.Tensor) -> tf.Tensor:
        return cross_entropy(self.network(x_adv, training=True), batch.y)


@dataclass(kw_only=True)
class Trades(Recipe):
    """Cross-entropy of the clean images plus beta times the divergence of the attacked ones from
    them (Zhang et al. 2019, eq. 5). The attack maximises that divergence; the labels serve the
    first term only."""

    network: tf_keras.Model
    norm: Norm
    attack_steps: int
    beta: float

    def neighbours(self, batch: Batch) -> tf.Tensor:
        clean = self.network(batch.x, training=False)

        def loss(x: tf.Tensor) -> tf.Tensor:
            return divergence(clean, self.network(x, training=False))

        return neighbours(loss, batch.x, batch.noise, self.norm, batch.epsilon, self.attack_steps)

    def losses(self, batch: Batch, x_adv: tf.Tensor) -> tf.Tensor:
        clean = self.network(batch.x, training=True)
        return cross_entropy(clean, batch.y) + self.beta * divergence(
            clean, self.network(x_adv, training=True)
        )


@dataclass(kw_only=True)
class Certified(Adversarial):
    """What the recipes with an interval bound share. warm_up: see `RecipeConfig`."""

    bounds: TrainingBounds
    warm_up: float

    def bound_losses(self, batch: Batch, centre: tf.Tensor, radius: tf.Tensor) -> tf.Tensor:
        """Cross-entropy of the bound of the box around `centre`, in [0, 1], with the warm-up's
        share: float32 [n]."""
        boxes = self.bounds.boxes(
            tf.maximum(centre - radius, 0.0), tf.minimum(centre + radius, 1.0)
        )
        losses = cross_entropy(self.bounds.worst_logits(boxes, batch.y), batch.y)
        if self.warm_up:
            losses += self.warm_up * (1 - batch.ramp) * self.bounds.warm_up_loss(boxes)
        return losses


@dataclass(kw_only=True)
class MtlIbp(Certified):
    """(1 - share) * cross-entropy of the attacked images + share * that of the interval bound of
    the whole ball (De Palma et al. 2024, eq. 8)."""

    share: float

    def losses(self, batch: Batch, x_adv: tf.Tensor) -> tf.Tensor:
        bound = self.bound_losses(batch, batch.x, batch.epsilon)
        return (1 - self.share) * super().losses(batch, x_adv) + self.share * bound


@dataclass(kw_only=True)
class Sabr(Certified):
    """Cross-entropy of the interval bound of a small box around the attacked images, inside the
    ball (Mueller et al. 2023, section 3)."""

    box: float

    def losses(self, batch: Batch, x_adv: tf.Tensor) -> tf.Tensor:
        side, inner = self.box * batch.epsilon, (1 - self.box) * batch.epsilon
        centre = tf.clip_by_value(x_adv, batch.x - inner, batch.x + inner)
        return self.bound_losses(batch, centre, side)


def divergence(clean: tf.Tensor, attacked: tf.Tensor) -> tf.Tensor:
    """Kullback-Leibler divergence of the predictions on attacked images from those on clean ones,
    of logits float32 [n, k]: float32 [n]."""
    log_p, log_q = tf.nn.log_softmax(clean), tf.nn.log_softmax(attacked)
    return tf.reduce_sum(tf.exp(log_p) * (log_p - log_q), axis=1)


def build_recipe(
    config: RecipeConfig,
    network: tf_keras.Model,
    threat: ThreatModel,
    traced: tf_keras.Model | None = None,
) -> Recipe:
    """The named recipe for a network; not for `tutorial`.

    Args:
        traced: the same network in float32 and on one device, of which the layers of bounds are
            read off when it is given; the bounds are those of `network`'s weights, in float32.

    Raises:
        ConfigError: the recipe needs an interval bound, and the network or the norm has none.
    """
    adversarial: dict[str, Any] = {
        "network": network,
        "norm": threat.norm,
        "attack_steps": config.attack_steps,
    }
    match config.name:
        case RecipeName.UNDEFENDED:
            return Undefended(network=network)
        case RecipeName.FAST | RecipeName.PGD:
            return Adversarial(**adversarial)
        case RecipeName.TRADES:
            return Trades(**adversarial, beta=config.beta)
        case RecipeName.MTL_IBP:
            return MtlIbp(
                **adversarial,
                **_certified(config, network, threat, traced),
                share=config.bound_share,
            )
        case RecipeName.SABR:
            return Sabr(
                **adversarial, **_certified(config, network, threat, traced), box=config.box
            )
        case RecipeName.TUTORIAL:
            raise AssertionError("the tutorial's recipe is NSL's own model")
        case never:
            assert_never(never)


def _certified(
    config: RecipeConfig,
    network: tf_keras.Model,
    threat: ThreatModel,
    traced: tf_keras.Model | None,
) -> dict[str, Any]:
    if threat.norm is not Norm.LINF:
        raise ConfigError(
            f"recipe.name={config.name} minimises an interval bound, which needs threat.norm=linf"
        )
    try:
        bounds = TrainingBounds(traced or network, network.input_shape[1:], network.variables)
        return {"bounds": bounds, "warm_up": config.warm_up}
    except NoBoundError as error:
        others = ", ".join(name for name in RecipeName if name not in CERTIFIED_RECIPES)
        raise ConfigError(
            f"recipe.name={config.name} minimises an interval bound, which the network has not: "
            f"{error}; recipes without one are {others}"
        ) from error
