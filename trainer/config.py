"""What the trainer can be told. Imports neither TensorFlow nor TFX: the command line reads it."""

import dataclasses
from dataclasses import dataclass
from enum import StrEnum

from robustness.errors import ConfigError


class Recipe(StrEnum):
    """How a model is trained."""

    UNDEFENDED = "undefended"
    TUTORIAL = "tutorial"  # NSL's adversarial regularisation as its tutorial ships it


class StrategyName(StrEnum):
    """`tf.distribute` strategies: one device, or all GPUs of one machine."""

    ONE_DEVICE = "one_device"
    MIRRORED = "mirrored"


class GradientNorm(StrEnum):
    """The norm in which NSL normalises its perturbation (`adv_grad_norm`)."""

    INFINITY = "infinity"
    L2 = "l2"


@dataclass(frozen=True, kw_only=True)
class TrainerConfig:
    """Network and training of both models; the defaults are the NSL tutorial's hyper-parameters.

    filters, kernel_size, pool_size, dense: convolutions with max pooling between them, then dense
        layers, then the logits.
    batch_size: global batch, shared out among the strategy's replicas.
    adversarial_*: the NSL term of the robust model: weight, step in pixel units, and norm.

    Raises:
        ConfigError: a size is below 1, or a rate, weight or step is not positive.
    """

    strategy: StrategyName = StrategyName.ONE_DEVICE
    filters: tuple[int, ...] = (32, 64, 64)
    kernel_size: int = 3
    pool_size: int = 2
    dense: tuple[int, ...] = (64,)
    batch_size: int = 32
    epochs: int = 5
    learning_rate: float = 0.001
    recipe: Recipe = Recipe.TUTORIAL
    adversarial_multiplier: float = 0.2
    adversarial_step_size: float = 0.2
    adversarial_norm: GradientNorm = GradientNorm.INFINITY

    @property
    def undefended(self) -> "TrainerConfig":
        """The same network and training without a defence, whatever the defence's settings are."""
        tutorial = TrainerConfig()
        return dataclasses.replace(
            self,
            recipe=Recipe.UNDEFENDED,
            adversarial_multiplier=tutorial.adversarial_multiplier,
            adversarial_step_size=tutorial.adversarial_step_size,
            adversarial_norm=tutorial.adversarial_norm,
        )

    def feature_size(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of the last convolution's output; below 1 when the images are too small."""
        for i in range(len(self.filters)):
            if i:
                height, width = height // self.pool_size, width // self.pool_size
            height, width = height - self.kernel_size + 1, width - self.kernel_size + 1
        return height, width

    def __post_init__(self) -> None:
        sizes = {"kernel_size": self.kernel_size, "pool_size": self.pool_size, "batch_size": self.batch_size}
        sizes |= {"epochs": self.epochs, "filters": min(self.filters, default=0), "dense": min(self.dense, default=1)}
        for name, size in sizes.items():
            if size < 1:
                raise ConfigError(f"trainer.{name} is at least 1, got {size}")
        for name in ("learning_rate", "adversarial_multiplier", "adversarial_step_size"):
            if not 0 < getattr(self, name) < float("inf"):
                raise ConfigError(f"trainer.{name} is positive and finite, got {getattr(self, name)}")
