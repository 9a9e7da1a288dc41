"""What a recipe can be told: a union of one class for each, discriminated by `name`.

A recipe has the settings that it uses and no others. `trainer.recipes` says what it minimises.
Imports neither TensorFlow nor TFX: the command line reads it.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, ClassVar, Literal, get_args

import pydantic

from foundation.errors import ConfigError
from foundation.ranges import Fraction, NotNegative, Positive, Section, Share, Size


class GradientNorm(StrEnum):
    """The norm in which NSL normalises its perturbation (`adv_grad_norm`)."""

    INFINITY = "infinity"
    L2 = "l2"


@dataclass(frozen=True, kw_only=True)
class NamedRecipe(Section):
    """What the robust model minimises. name: the recipe; each has settings of its own."""

    section: ClassVar[str] = "recipe"
    name: str


@dataclass(frozen=True, kw_only=True)
class UndefendedConfig(NamedRecipe):
    """No defence."""

    name: Literal["undefended"] = "undefended"


@dataclass(frozen=True, kw_only=True)
class TutorialConfig(NamedRecipe):
    """NSL's adversarial regularisation as its tutorial ships it.

    multiplier: weight of the adversarial term. step_size: length of the attack's step, in pixel
    units. norm: norm of the attack's step.
    """

    name: Literal["tutorial"] = "tutorial"
    multiplier: Positive = 0.2
    step_size: Positive = 0.2
    norm: GradientNorm = GradientNorm.INFINITY


@dataclass(frozen=True, kw_only=True)
class AttackedConfig(NamedRecipe):
    """What the recipes share that look at all images of a ball.

    epsilon_factor: radius in training over the radius of the threat. ramp: share of the training,
    from its start, in which the radius grows from 0.
    """

    epsilon_factor: Positive = 1.0
    ramp: Fraction = 0.0


@dataclass(frozen=True, kw_only=True)
class FastConfig(AttackedConfig):
    """Attacked images, by one step."""

    name: Literal["fast"] = "fast"
    attack_steps: ClassVar[int] = 1


@dataclass(frozen=True, kw_only=True)
class IteratedConfig(AttackedConfig):
    """What the recipes share whose attack may have several steps.

    attack_steps: steps of the attack in training.
    """

    attack_steps: Size = 1


@dataclass(frozen=True, kw_only=True)
class PgdConfig(IteratedConfig):
    """Attacked images, by several steps."""

    name: Literal["pgd"] = "pgd"


@dataclass(frozen=True, kw_only=True)
class TradesConfig(IteratedConfig):
    """Clean images, and the divergence of attacked ones from them.

    beta: weight of the divergence.
    """

    name: Literal["trades"] = "trades"
    beta: Positive = 6.0


@dataclass(frozen=True, kw_only=True)
class CertifiedConfig(IteratedConfig):
    """What the recipes share that minimise an interval bound, which not every layer and norm has.

    warm_up: weight, fading out over the ramp, of what keeps intervals tight and ReLUs alive (Shi et
    al. 2021).

    Raises:
        ConfigError: a warm-up without a ramp, or a number outside its range.
    """

    warm_up: NotNegative = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.warm_up and not self.ramp:
            raise ConfigError(
                f"recipe.warm_up={self.warm_up} fades out over recipe.ramp, which is 0; set both"
            )


@dataclass(frozen=True, kw_only=True)
class MtlIbpConfig(CertifiedConfig):
    """Attacked images, and the interval bound of the ball.

    bound_share: weight of the bound's loss; the attacked images have the rest.
    """

    name: Literal["mtl-ibp"] = "mtl-ibp"
    bound_share: Share = 0.3


@dataclass(frozen=True, kw_only=True)
class SabrConfig(CertifiedConfig):
    """The interval bound of a small box around attacked images.

    box: side of the box over that of the ball.
    """

    name: Literal["sabr"] = "sabr"
    box: Share = 0.4


RecipeConfig = Annotated[
    UndefendedConfig
    | TutorialConfig
    | FastConfig
    | PgdConfig
    | TradesConfig
    | MtlIbpConfig
    | SabrConfig,
    pydantic.Discriminator("name"),
]
"""The defence."""

RECIPES: dict[str, type[NamedRecipe]] = {
    kind.name: kind for kind in get_args(get_args(RecipeConfig)[0])
}
"""The recipes by their names."""
