"""Recipes: what each defence minimises, and the Keras model that a training fits for it.

Our own recipes make neighbours of a batch (`trainer.neighbours`), outside the tape of the weights,
and give the loss of every image inside it (`trainer.step`). The recipe `tutorial` is NSL's own
Keras model.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import assert_never

import tensorflow as tf
import tf_keras

from foundation.errors import ConfigError
from robustness.bounds.trace import NoBoundError
from robustness.bounds.training import TrainingBounds
from robustness.config import Norm, ThreatModel
from robustness.losses import cross_entropy
from robustness.types import ImagesTensor, LogitsTensor, NumbersTensor, ScalarTensor
from trainer.neighbours import Loss, neighbours
from trainer.nsl import adversarial_regularization
from trainer.recipe_config import (
    RECIPES,
    CertifiedConfig,
    FastConfig,
    IteratedConfig,
    MtlIbpConfig,
    PgdConfig,
    RecipeConfig,
    SabrConfig,
    TradesConfig,
    TutorialConfig,
    UndefendedConfig,
)
from trainer.step import Batch, Course, RecipeModel
from trainer.validation import Scores


@dataclass(kw_only=True)
class Recipe(ABC):
    """A defence of one network.

    wants_positions: whether its model reads the places of images in the global batch.
    attack_steps: gradient steps to a neighbour, 0 where none is made. They may be changed between
        two calls of `fit`, before `make_train_function(force=True)`.
    """

    network: tf_keras.Model
    wants_positions = True
    attack_steps: int = field(default=0, init=False)

    @abstractmethod
    def model(self, optimizer: tf_keras.optimizers.Optimizer, course: Course) -> tf_keras.Model:
        """The compiled model around the network."""

    def first_selected(self, epochs: int) -> int:
        """The first epoch whose weights may be exported. Here it is the last one of all, as others'
        published numbers are those of the last epoch."""
        return epochs

    def score(self, scores: Scores) -> float:
        """What makes an epoch the best: what the recipe is for."""
        return scores.adversarial


@dataclass(kw_only=True)
class Tutorial(Recipe):
    """NSL's own model, as its tutorial ships it; it has no L1."""

    config: TutorialConfig
    wants_positions = False

    def model(self, optimizer: tf_keras.optimizers.Optimizer, course: Course) -> tf_keras.Model:
        model = adversarial_regularization(self.network, self.config)
        model.compile(optimizer, tf_keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        return model


@dataclass(kw_only=True)
class OwnRecipe(Recipe):
    """A recipe of ours: a loss of every image, on neighbours that it makes."""

    @property
    def epsilon(self) -> float:
        """Full radius in training."""
        return 0.0

    @property
    def ramp(self) -> float:
        """Share of the training, from its start, in which the radius grows from 0."""
        return 0.0

    def neighbours(self, batch: Batch) -> ImagesTensor:
        """The images that the loss looks at; the clean ones where nothing is attacked."""
        return batch.x

    @abstractmethod
    def losses(self, batch: Batch, x_adv: ImagesTensor) -> NumbersTensor:
        """Loss of every image."""

    def model(self, optimizer: tf_keras.optimizers.Optimizer, course: Course) -> tf_keras.Model:
        model = RecipeModel(
            self.network,
            self.neighbours,
            self.losses,
            course,
            epsilon=self.epsilon,
            ramp_steps=self.ramp * course.steps,
        )
        model.compile(optimizer)
        return model


@dataclass(kw_only=True)
class Undefended(OwnRecipe):
    """Cross-entropy of the clean images."""

    def losses(self, batch: Batch, x_adv: ImagesTensor) -> NumbersTensor:
        return cross_entropy(self.network(x_adv, training=True), batch.y)


@dataclass(kw_only=True)
class Adversarial(OwnRecipe):
    """Cross-entropy of the attacked images, as the recipe `fast` (Wong et al. 2020) with one step
    from a random start, as `pgd` (Madry et al. 2018) with several."""

    config: FastConfig | IteratedConfig
    threat: ThreatModel

    def __post_init__(self) -> None:
        self.attack_steps = self.config.attack_steps

    @property
    def epsilon(self) -> float:
        return self.threat.epsilon * self.config.epsilon_factor

    @property
    def ramp(self) -> float:
        return self.config.ramp

    def first_selected(self, epochs: int) -> int:
        """The first epoch that has the full radius at its end."""
        return max(1, math.ceil(self.ramp * epochs))

    def neighbours(self, batch: Batch) -> ImagesTensor:
        def loss(x: ImagesTensor) -> NumbersTensor:
            return cross_entropy(self.network(x, training=False), batch.y)

        return self._climb(loss, batch)

    def losses(self, batch: Batch, x_adv: ImagesTensor) -> NumbersTensor:
        return cross_entropy(self.network(x_adv, training=True), batch.y)

    def _climb(self, loss: Loss, batch: Batch) -> ImagesTensor:
        return neighbours(
            loss, batch.x, batch.noise, self.threat.norm, batch.epsilon, self.attack_steps
        )


@dataclass(kw_only=True)
class Trades(Adversarial):
    """Cross-entropy of the clean images plus beta times the divergence of the attacked ones from
    them (Zhang et al. 2019, eq. 5). The attack maximises that divergence; the labels serve the
    first term only."""

    config: TradesConfig

    def neighbours(self, batch: Batch) -> ImagesTensor:
        clean = self.network(batch.x, training=False)

        def loss(x: ImagesTensor) -> NumbersTensor:
            return divergence(clean, self.network(x, training=False))

        return self._climb(loss, batch)

    def losses(self, batch: Batch, x_adv: ImagesTensor) -> NumbersTensor:
        clean = self.network(batch.x, training=True)
        diverged = divergence(clean, self.network(x_adv, training=True))
        return cross_entropy(clean, batch.y) + self.config.beta * diverged


@dataclass(kw_only=True)
class Certified(Adversarial):
    """What the recipes with an interval bound share."""

    config: CertifiedConfig
    bounds: TrainingBounds

    def score(self, scores: Scores) -> float:
        return scores.adversarial + scores.certified

    def bound_losses(
        self, batch: Batch, centre: ImagesTensor, radius: ScalarTensor
    ) -> NumbersTensor:
        """Cross-entropy of the bound of the box around `centre`, in [0, 1], with the warm-up's
        share."""
        boxes = self.bounds.boxes(
            tf.maximum(centre - radius, 0.0), tf.minimum(centre + radius, 1.0)
        )
        losses = cross_entropy(self.bounds.worst_logits(boxes, batch.y), batch.y)
        if self.config.warm_up:
            losses += self.config.warm_up * (1 - batch.ramp) * self.bounds.warm_up_loss(boxes)
        return losses


@dataclass(kw_only=True)
class MtlIbp(Certified):
    """(1 - share) * cross-entropy of the attacked images + share * that of the interval bound of
    the whole ball (De Palma et al. 2024, eq. 8)."""

    config: MtlIbpConfig

    def losses(self, batch: Batch, x_adv: ImagesTensor) -> NumbersTensor:
        share = self.config.bound_share
        bound = self.bound_losses(batch, batch.x, batch.epsilon)
        return (1 - share) * super().losses(batch, x_adv) + share * bound


@dataclass(kw_only=True)
class Sabr(Certified):
    """Cross-entropy of the interval bound of a small box around the attacked images, inside the
    ball (Mueller et al. 2023, section 3)."""

    config: SabrConfig

    def losses(self, batch: Batch, x_adv: ImagesTensor) -> NumbersTensor:
        box = self.config.box
        side, inner = box * batch.epsilon, (1 - box) * batch.epsilon
        centre = tf.clip_by_value(x_adv, batch.x - inner, batch.x + inner)
        return self.bound_losses(batch, centre, side)


def divergence(clean: LogitsTensor, attacked: LogitsTensor) -> NumbersTensor:
    """Kullback-Leibler divergence of the predictions on attacked images from those on clean
    ones."""
    log_p, log_q = tf.nn.log_softmax(clean), tf.nn.log_softmax(attacked)
    return tf.reduce_sum(tf.exp(log_p) * (log_p - log_q), axis=1)


def build_recipe(
    config: RecipeConfig,
    network: tf_keras.Model,
    threat: ThreatModel,
    traced: tf_keras.Model | None = None,
) -> Recipe:
    """The configured recipe for a network.

    Args:
        config: which recipe, and its settings.
        network: network to be trained.
        threat: the ball, at its full radius.
        traced: the same network in float32 and on one device, of which the layers of bounds are
            read off when it is given; the bounds are those of `network`'s weights, in float32.

    Raises:
        ConfigError: the recipe needs an interval bound, and the network or the norm has none.
    """
    match config:
        case UndefendedConfig():
            return Undefended(network=network)
        case TutorialConfig():
            return Tutorial(network=network, config=config)
        case FastConfig() | PgdConfig():
            return Adversarial(network=network, config=config, threat=threat)
        case TradesConfig():
            return Trades(network=network, config=config, threat=threat)
        case MtlIbpConfig():
            bounds = _bounds(config, network, threat, traced)
            return MtlIbp(network=network, config=config, threat=threat, bounds=bounds)
        case SabrConfig():
            bounds = _bounds(config, network, threat, traced)
            return Sabr(network=network, config=config, threat=threat, bounds=bounds)
        case never:
            assert_never(never)


def _bounds(
    config: CertifiedConfig,
    network: tf_keras.Model,
    threat: ThreatModel,
    traced: tf_keras.Model | None,
) -> TrainingBounds:
    if threat.norm is not Norm.LINF:
        raise ConfigError(
            f"recipe.name={config.name} minimises an interval bound, which needs threat.norm=linf"
        )
    try:
        return TrainingBounds(traced or network, network.input_shape[1:], network.variables)
    except NoBoundError as error:
        others = (name for name, kind in RECIPES.items() if not issubclass(kind, CertifiedConfig))
        raise ConfigError(
            f"recipe.name={config.name} minimises an interval bound, which the network has not: "
            f"{error}; recipes without one are {', '.join(others)}"
        ) from error
