"""What the trainer can be told. Imports neither TensorFlow nor TFX: the command line reads it."""

import dataclasses
import re
from dataclasses import dataclass, field
from enum import StrEnum

from foundation.errors import ConfigError
from robustness.config import ThreatModel


class RecipeName(StrEnum):
    """How a model is trained; `trainer.recipes` says what each one minimises."""

    UNDEFENDED = "undefended"
    TUTORIAL = "tutorial"  # NSL's adversarial regularisation as its tutorial ships it
    FAST = "fast"
    PGD = "pgd"
    TRADES = "trades"
    MTL_IBP = "mtl-ibp"
    SABR = "sabr"


CERTIFIED_RECIPES = (RecipeName.MTL_IBP, RecipeName.SABR)
"""They minimise an interval bound, which not every layer and norm has."""


class StrategyName(StrEnum):
    """`tf.distribute` strategies; `auto` takes what the machine and its environment offer."""

    AUTO = "auto"
    ONE_DEVICE = "one_device"
    MIRRORED = "mirrored"
    MULTI_WORKER = "multi_worker"
    TPU = "tpu"


class Scaling(StrEnum):
    """What happens to batch and learning rate when n replicas train.

    fixed: `batch_size` is shared out, the rate stays. linear (Goyal et al. 2017): every replica has
    `batch_size`, the rate is multiplied by n. sqrt (Malladi et al. 2022, for Adam): the same with
    the root of n.
    """

    FIXED = "fixed"
    LINEAR = "linear"
    SQRT = "sqrt"


class Precision(StrEnum):
    """Arithmetic of training; the exported model computes in float32 always."""

    FLOAT32 = "float32"
    MIXED_BFLOAT16 = "mixed_bfloat16"
    MIXED_FLOAT16 = "mixed_float16"


class Schedule(StrEnum):
    """Course of the learning rate, whose peak is `learning_rate`; see `trainer.schedules`."""

    CONSTANT = "constant"
    CYCLIC = "cyclic"
    DROPS = "drops"
    COSINE = "cosine"


class Initialization(StrEnum):
    """How the weights begin. ibp (Shi et al. 2021): so that interval widths neither grow nor shrink
    from layer to layer."""

    GLOROT = "glorot"
    IBP = "ibp"


class Padding(StrEnum):
    """What a convolution does at the border of an image."""

    VALID = "valid"
    SAME = "same"


class GradientNorm(StrEnum):
    """The norm in which NSL normalises its perturbation (`adv_grad_norm`)."""

    INFINITY = "infinity"
    L2 = "l2"


@dataclass(frozen=True, kw_only=True)
class RecipeConfig:
    """The defence; a recipe ignores what it does not use.

    epsilon_factor: radius in training over the radius of the threat. ramp: part of the training,
        from its
        start, in which the radius grows from 0. attack_steps: gradient steps of a neighbour.
    multiplier, step_size, norm: NSL's adversarial term in `tutorial`: weight, step in pixel units,
        norm.
    beta: weight of the divergence in trades. bound_share: weight of the interval bound in mtl-ibp.
    box: side of sabr's small box over that of the ball. warm_up: weight, fading out over the ramp,
        of what keeps intervals tight and ReLUs alive in mtl-ibp and sabr (Shi et al. 2021).

    Raises:
        ConfigError: a weight, step or radius is not positive, or a share is outside (0, 1].
    """

    name: RecipeName = RecipeName.TUTORIAL
    multiplier: float = 0.2
    step_size: float = 0.2
    norm: GradientNorm = GradientNorm.INFINITY
    epsilon_factor: float = 1.0
    ramp: float = 0.0
    attack_steps: int = 1
    beta: float = 6.0
    bound_share: float = 0.3
    box: float = 0.4
    warm_up: float = 0.0

    def __post_init__(self) -> None:
        for name in ("multiplier", "step_size", "epsilon_factor", "beta"):
            _check_positive(f"recipe.{name}", getattr(self, name))
        for name in ("bound_share", "box"):
            if not 0 < getattr(self, name) <= 1:
                raise ConfigError(f"recipe.{name} is in (0, 1], got {getattr(self, name)}")
        _check_fraction("recipe.ramp", self.ramp)
        _check_not_negative("recipe.warm_up", self.warm_up)
        _check_size("recipe.attack_steps", self.attack_steps)
        if self.name is RecipeName.FAST and self.attack_steps != 1:
            raise ConfigError(
                f"recipe.name=fast has one attack step, got {self.attack_steps}; several are "
                "recipe.name=pgd"
            )


@dataclass(frozen=True, kw_only=True)
class TrainerConfig:
    """Network, optimisation and devices of both models; the defaults are the NSL tutorial's.

    strategy, workers, tpu: see `trainer.strategy`. precision: of training. scaling: with several
        replicas.
    network: `package.module:function` in place of the built-in one, a function of image shape and
        number of classes that gives a tf_keras model from images in [0, 1] to logits.
    filters, kernel_size, stride, padding, pool_size, dense: convolutions, max pooling between them
        (a pool_size of 1 is none), then dense layers, then the logits; kernel_size and stride are
        one for all convolutions or one for each. initialization: of their weights.
    batch_size: see `scaling`. learning_rate, schedule: Adam's rate at its peak, and its course.
    gradient_clip: largest norm of all gradients together; 0 is no limit.
    weight_averaging: momentum of an exponential moving average of the weights, which is what is
        evaluated and exported; 0 is none. l1: weight of the sum of the absolute values of all
        kernels.
    validation_images: images of the validation split that are attacked after each epoch.
    warm_start: begin with the weights of the latest blessed model.

    Raises:
        ConfigError: a size is below 1, a rate is not positive, or settings that cannot go together.
    """

    strategy: StrategyName = StrategyName.ONE_DEVICE
    workers: int = 1
    tpu: str = ""
    precision: Precision = Precision.FLOAT32
    scaling: Scaling = Scaling.SQRT
    network: str | None = None
    filters: tuple[int, ...] = (32, 64, 64)
    kernel_size: tuple[int, ...] = (3,)
    stride: tuple[int, ...] = (1,)
    padding: Padding = Padding.VALID
    pool_size: int = 2
    dense: tuple[int, ...] = (64,)
    initialization: Initialization = Initialization.GLOROT
    batch_size: int = 32
    epochs: int = 5
    learning_rate: float = 0.001
    schedule: Schedule = Schedule.CONSTANT
    gradient_clip: float = 0.0
    weight_averaging: float = 0.0
    l1: float = 0.0
    validation_images: int = 1000
    warm_start: bool = False

    @property
    def undefended(self) -> "TrainerConfig":
        """The same network on the same devices, trained by the defaults, whatever the defence's
        settings are."""
        devices = ("strategy", "workers", "tpu")
        network = ("network", "filters", "kernel_size", "stride", "padding", "pool_size", "dense")
        kept = (*devices, *network, "validation_images")
        return dataclasses.replace(
            TrainerConfig(),
            epochs=min(self.epochs, 5),
            **{name: getattr(self, name) for name in kept},
        )

    @property
    def convolutions(self) -> list[tuple[int, int, int]]:
        """Filters, kernel size and stride of each."""
        kernels, strides = (
            each * len(self.filters) if len(each) == 1 else each
            for each in (self.kernel_size, self.stride)
        )
        return list(zip(self.filters, kernels, strides, strict=True))

    def feature_size(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of the last convolution's output; below 1 when the images are too
        small."""
        for i, (_, kernel_size, stride) in enumerate(self.convolutions):
            if i:
                height, width = height // self.pool_size, width // self.pool_size
            if self.padding is Padding.VALID:
                height, width = height - kernel_size + 1, width - kernel_size + 1
            height, width = -(-height // stride), -(-width // stride)
        return height, width

    def __post_init__(self) -> None:
        sizes = {
            name: getattr(self, name) for name in ("pool_size", "batch_size", "workers", "epochs")
        }
        sizes |= {
            name: min(getattr(self, name), default=0)
            for name in ("filters", "kernel_size", "stride")
        }
        sizes["dense"] = min(self.dense, default=1)
        for name, size in (sizes | {"validation_images": self.validation_images}).items():
            _check_size(f"trainer.{name}", size)
        for name in ("kernel_size", "stride"):
            if len(getattr(self, name)) not in (1, len(self.filters)):
                raise ConfigError(
                    f"trainer.{name} is one number, or one for each of the {len(self.filters)} "
                    "convolutions of trainer.filters, got "
                    f"{','.join(map(str, getattr(self, name)))}"
                )
        _check_positive("trainer.learning_rate", self.learning_rate)
        _check_fraction("trainer.weight_averaging", self.weight_averaging, below_one=True)
        for name in ("gradient_clip", "l1"):
            _check_not_negative(f"trainer.{name}", getattr(self, name))
        if self.network is not None and not re.fullmatch(r"[\w.]+:\w+", self.network):
            raise ConfigError(f"trainer.network is package.module:function, got {self.network!r}")
        if self.workers > 1 and self.strategy is not StrategyName.MULTI_WORKER:
            raise ConfigError(
                f"trainer.workers={self.workers} needs trainer.strategy=multi_worker, got "
                f"{self.strategy}"
            )


@dataclass(frozen=True, kw_only=True)
class TrainingTask:
    """What a Trainer node is told through its custom_config.

    image_shape: height, width, channels. checkpoints: folder that outlives a killed run; each
        training has one of
    its own in there. code: hash of the code that trains; it tells TFX's cache of edits.
    """

    config: TrainerConfig
    recipe: RecipeConfig = field(default_factory=RecipeConfig)
    threat: ThreatModel = field(default_factory=ThreatModel)
    image_shape: tuple[int, int, int]
    classes: int
    seed: int
    checkpoints: str
    code: str = ""


@dataclass(frozen=True, kw_only=True)
class TunerConfig:
    """A search over the recipe's hyper-parameters before the robust model is trained.

    trials: trainings of the search; 0 is no search. epochs: of each of them; 0 is a third of
        trainer.epochs.
    clean_floor: accuracy on clean images of the validation split that the chosen trial must reach.

    Raises:
        ConfigError: a negative number of trials or epochs, or a floor outside [0, 1].
    """

    trials: int = 0
    epochs: int = 0
    clean_floor: float = 0.97

    def __post_init__(self) -> None:
        for name in ("trials", "epochs"):
            _check_not_negative(f"tuner.{name}", getattr(self, name))
        _check_fraction("tuner.clean_floor", self.clean_floor)


@dataclass(frozen=True, kw_only=True)
class TuningTask:
    """What the Tuner node is told through its custom_config. training: of a trial, but for what is
    searched."""

    training: TrainingTask
    trials: int
    clean_floor: float


def _check_positive(name: str, value: float) -> None:
    if not 0 < value < float("inf"):
        raise ConfigError(f"{name} is positive and finite, got {value}")


def _check_not_negative(name: str, value: float) -> None:
    if not 0 <= value < float("inf"):
        raise ConfigError(f"{name} is finite and not negative, got {value}")


def _check_fraction(name: str, value: float, below_one: bool = False) -> None:
    if not 0 <= value <= 1 or (below_one and value == 1):
        raise ConfigError(f"{name} is in [0, 1{')' if below_one else ']'}, got {value}")


def _check_size(name: str, size: int) -> None:
    if size < 1:
        raise ConfigError(f"{name} is at least 1, got {size}")
