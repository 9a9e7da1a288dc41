"""What the trainer's configuration allows, and what it says does nothing."""

import dataclasses

import pytest

from foundation.errors import ConfigError
from trainer.config import (
    Initialization,
    Padding,
    Precision,
    Scaling,
    Schedule,
    StrategyName,
    TrainerConfig,
    TunerConfig,
)
from trainer.recipe_config import (
    RECIPES,
    FastConfig,
    MtlIbpConfig,
    PgdConfig,
    SabrConfig,
    TradesConfig,
    TutorialConfig,
)


def test_several_workers_need_their_strategy() -> None:
    with pytest.raises(
        ConfigError, match=r"trainer.workers=2 needs trainer.strategy=multi_worker, got mirrored"
    ):
        TrainerConfig(strategy=StrategyName.MIRRORED, workers=2)


def test_the_undefended_model_shares_devices_and_network_and_nothing_else() -> None:
    shared = {
        "strategy": StrategyName.MULTI_WORKER,
        "workers": 3,
        "tpu": "mine",
        "network": "mine:small",
        "filters": (8, 8),
        "kernel_size": (5,),
        "stride": (2, 1),
        "padding": Padding.SAME,
        "pool_size": 1,
        "dense": (9,),
        "validation_images": 77,
    }
    defence = {
        "precision": Precision.MIXED_BFLOAT16,
        "scaling": Scaling.LINEAR,
        "initialization": Initialization.IBP,
        "batch_size": 100,
        "epochs": 45,
        "learning_rate": 0.5,
        "schedule": Schedule.COSINE,
        "gradient_clip": 1.0,
        "weight_averaging": 0.9,
        "l1": 0.1,
        "warm_start": True,
    }
    config = TrainerConfig(**shared, **defence)
    assert {*shared, *defence} == {field.name for field in dataclasses.fields(config)}
    assert config.undefended == TrainerConfig(**shared)
    assert dataclasses.replace(config, epochs=2).undefended.epochs == 2


BUILT_IN = {"filters", "kernel_size", "stride", "padding", "pool_size", "dense", "initialization"}


@pytest.mark.parametrize(
    ("config", "unused"),
    [
        (TrainerConfig(), {"workers", "tpu", "scaling"}),
        (TrainerConfig(strategy=StrategyName.MIRRORED), {"workers", "tpu"}),
        (TrainerConfig(strategy=StrategyName.MULTI_WORKER), {"tpu"}),
        (TrainerConfig(strategy=StrategyName.AUTO), {"workers"}),
        (TrainerConfig(strategy=StrategyName.TPU), {"workers"}),
        (TrainerConfig(network="mine:small"), {"workers", "tpu", "scaling", *BUILT_IN}),
        (TunerConfig(), {"epochs", "clean_floor"}),
        (TunerConfig(trials=1), set()),
    ],
    ids=[
        "one-device",
        "mirrored",
        "multi-worker",
        "auto",
        "tpu",
        "own-network",
        "no-search",
        "search",
    ],
)
def test_settings_without_effect_are_known(
    config: TrainerConfig | TunerConfig, unused: set[str]
) -> None:
    assert set(config.unused) == unused


def test_a_recipe_has_the_settings_that_it_uses_and_no_others() -> None:
    radius, bound = {"epsilon_factor", "ramp"}, {"attack_steps", "warm_up"}
    expected = {
        "undefended": set(),
        "tutorial": {"multiplier", "step_size", "norm"},
        "fast": radius,
        "pgd": radius | {"attack_steps"},
        "trades": radius | {"attack_steps", "beta"},
        "mtl-ibp": radius | bound | {"bound_share"},
        "sabr": radius | bound | {"box"},
    }
    settings = {
        name: {*dataclasses.asdict(kind(name=name))} - {"name"} for name, kind in RECIPES.items()
    }
    assert settings == expected


@pytest.mark.parametrize(
    ("kind", "setting", "value", "message"),
    [
        (TutorialConfig, "multiplier", 0.0, "is positive and finite, got 0.0"),
        (TutorialConfig, "step_size", float("inf"), "is positive and finite, got inf"),
        (FastConfig, "epsilon_factor", -1.0, "is positive and finite, got -1.0"),
        (FastConfig, "ramp", 1.1, r"is a fraction in \[0, 1\], got 1.1"),
        (PgdConfig, "attack_steps", 0, "is at least 1, got 0"),
        (TradesConfig, "beta", float("nan"), "is positive and finite, got nan"),
        (MtlIbpConfig, "bound_share", 0.0, r"is a fraction in \(0, 1\], got 0.0"),
        (MtlIbpConfig, "warm_up", -0.1, "is a finite number >= 0, got -0.1"),
        (SabrConfig, "box", 1.5, r"is a fraction in \(0, 1\], got 1.5"),
    ],
)
def test_a_number_outside_its_range_is_refused(
    kind: type, setting: str, value: float, message: str
) -> None:
    with pytest.raises(ConfigError, match=f"recipe.{setting} {message}"):
        kind(**{setting: value})


def test_a_warm_up_fades_out_over_a_ramp() -> None:
    with pytest.raises(ConfigError, match=r"recipe.warm_up=0.5 fades out over recipe.ramp, which"):
        SabrConfig(warm_up=0.5)
    assert SabrConfig(warm_up=0.5, ramp=0.1).warm_up == 0.5
