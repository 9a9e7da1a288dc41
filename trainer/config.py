"""What the trainer can be told. Imports neither TensorFlow nor TFX: the command line reads it."""

import re
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import ClassVar

from foundation.errors import ConfigError
from foundation.ranges import (
    Count,
    Fraction,
    FractionBelowOne,
    NotNegative,
    Positive,
    Section,
    Size,
)
from robustness.config import ThreatModel
from trainer.recipe_config import RecipeConfig, TutorialConfig


class StrategyName(StrEnum):
    """`tf.distribute` strategies; `auto` takes what the machine and its environment offer."""

    AUTO = "auto"
    ONE_DEVICE = "one_device"
    MIRRORED = "mirrored"
    MULTI_WORKER = "multi_worker"
    TPU = "tpu"


USED_BY = {
    "workers": {StrategyName.MULTI_WORKER},
    "tpu": {StrategyName.TPU, StrategyName.AUTO},
    "scaling": set(StrategyName) - {StrategyName.ONE_DEVICE},
}
"""Settings that only some strategies use."""


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
    """Course of the learning rate, whose peak is `learning_rate`.

    constant: the peak. cyclic (Wong et al. 2020): up over two fifths of the steps, down to 0. drops
    (De Palma et al. 2024): divided by 5 after three quarters, and again after nine tenths. cosine:
    a short climb, the peak up to the middle, half a cosine down to 0.
    """

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


@dataclass(frozen=True, kw_only=True)
class DevicesConfig(Section):
    """Where a model is trained; see `trainer.strategy`.

    strategy: kind of `tf.distribute.Strategy`. workers: number of processes on this machine; more
    than one with multi_worker only. tpu: name of the TPU.

    Raises:
        ConfigError: a number of workers below 1, or several with a strategy for one process.
    """

    section: ClassVar[str] = "trainer"
    strategy: StrategyName = StrategyName.ONE_DEVICE
    workers: Size = 1
    tpu: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.workers > 1 and self.strategy is not StrategyName.MULTI_WORKER:
            raise ConfigError(
                f"trainer.workers={self.workers} needs trainer.strategy=multi_worker, got "
                f"{self.strategy}"
            )


@dataclass(frozen=True, kw_only=True)
class NetworkConfig(Section):
    """The classifier.

    network: `package.module:function` of a network in place of the built-in one: a function of
        image shape and number of classes that gives a tf_keras model from images in [0, 1] to
        logits.
    filters: number of filters of each convolution of the built-in network. kernel_size: side of the
        kernels, one number for all convolutions or one for each. stride: step of the kernels, one
        number or one for each. padding: what convolutions do at the border of an image. pool_size:
        side of the max pooling between convolutions; 1 is none. dense: sizes of the dense layers
        between the convolutions and the logits.

    Raises:
        ConfigError: a size below 1, or a wrong number of sizes.
    """

    section: ClassVar[str] = "trainer"
    network: str | None = None
    filters: tuple[Size, ...] = (32, 64, 64)
    kernel_size: tuple[Size, ...] = (3,)
    stride: tuple[Size, ...] = (1,)
    padding: Padding = Padding.VALID
    pool_size: Size = 2
    dense: tuple[Size, ...] = (64,)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.network is not None and not re.fullmatch(r"[\w.]+:\w+", self.network):
            raise ConfigError(f"trainer.network is package.module:function, got {self.network!r}")
        for name in ("filters", "kernel_size", "stride"):
            if not getattr(self, name):
                raise ConfigError(f"trainer.{name} is empty; expected at least one number")
        for name in ("kernel_size", "stride"):
            sizes = getattr(self, name)
            if self.network is None and len(sizes) not in (1, len(self.filters)):
                raise ConfigError(
                    f"trainer.{name} is one number, or one for each of the {len(self.filters)} "
                    f"convolutions of trainer.filters, got {','.join(map(str, sizes))}"
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


@dataclass(frozen=True, kw_only=True)
class TrainerConfig(NetworkConfig, DevicesConfig):
    """Devices, network and optimisation of both models; the defaults are the NSL tutorial's.

    precision: arithmetic of training. scaling: batch and learning rate of several replicas.
    initialization: weights of the built-in network at the start.
    batch_size: images a step; of several replicas see scaling. epochs: passes over the training
        split; the undefended model has as many, and at most five. learning_rate: Adam's rate at its
        peak. schedule: course of the learning rate.
    gradient_clip: largest norm of all gradients together; 0 is no limit.
    weight_averaging: momentum of an exponential moving average of the weights, which is what is
        evaluated and exported; 0 is none.
    l1: weight of the sum of the absolute values of all kernels.
    validation_images: number of images of the validation split that are attacked after each epoch.
    warm_start: whether the robust model begins with the weights of the one that is served.

    Raises:
        ConfigError: a size below 1, a rate that is not positive, or settings that cannot go
            together.
    """

    precision: Precision = Precision.FLOAT32
    scaling: Scaling = Scaling.SQRT
    initialization: Initialization = Initialization.GLOROT
    batch_size: Size = 32
    epochs: Size = 5
    learning_rate: Positive = 0.001
    schedule: Schedule = Schedule.CONSTANT
    gradient_clip: NotNegative = 0.0
    weight_averaging: FractionBelowOne = 0.0
    l1: NotNegative = 0.0
    validation_images: Size = 1000
    warm_start: bool = False

    @property
    def undefended(self) -> "TrainerConfig":
        """The same network on the same devices, trained by the defaults, and for five epochs, or
        fewer where the defence has fewer."""
        shared = (*fields(DevicesConfig), *fields(NetworkConfig))
        return TrainerConfig(
            epochs=min(self.epochs, 5),
            validation_images=self.validation_images,
            **{setting.name: getattr(self, setting.name) for setting in shared},
        )

    @property
    def unused(self) -> dict[str, str]:
        unused = {}
        if self.network is not None:
            built_in = {setting.name for setting in fields(NetworkConfig)} - {"network"}
            unused = dict.fromkeys(built_in | {"initialization"}, f"trainer.network={self.network}")
        for name, strategies in USED_BY.items():
            if self.strategy not in strategies:
                unused[name] = f"trainer.strategy={self.strategy}"
        return unused


@dataclass(frozen=True, kw_only=True)
class TrainingTask:
    """What a Trainer node is told through its custom_config.

    config, recipe, threat: how, by which defence and against what. image_shape: height, width,
    channels. classes: number of labels. class_names: their names, in label order; empty where
    nobody knows them. seed: seed of all that is random. checkpoints: folder that
    outlives a killed run; each training has a folder of its own in there. code: hash of the code
    that trains, which tells TFX's cache of edits.
    """

    config: TrainerConfig
    recipe: RecipeConfig = field(default_factory=TutorialConfig)
    threat: ThreatModel = field(default_factory=ThreatModel)
    image_shape: tuple[int, int, int]
    classes: int
    class_names: tuple[str, ...] = ()
    seed: int
    checkpoints: str
    code: str = ""


@dataclass(frozen=True, kw_only=True)
class TunerConfig(Section):
    """A search over the recipe's hyper-parameters before the robust model is trained.

    trials: number of trainings; 0 is no search. epochs: length of each training; 0 is a third of
    trainer.epochs. clean_floor: accuracy on clean images of the validation split that the chosen
    trial must reach.
    """

    section: ClassVar[str] = "tuner"
    trials: Count = 0
    epochs: Count = 0
    clean_floor: Fraction = 0.97

    @property
    def unused(self) -> dict[str, str]:
        return {} if self.trials else dict.fromkeys(("epochs", "clean_floor"), "tuner.trials=0")


@dataclass(frozen=True, kw_only=True)
class TuningTask:
    """What the Tuner node is told through its custom_config.

    training: training of every trial, except the settings that are searched. trials, clean_floor:
    see `TunerConfig`.
    """

    training: TrainingTask
    trials: int
    clean_floor: float
