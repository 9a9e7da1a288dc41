"""Every setting explains itself, and is told to the nodes that it says."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from tfx.dsl.placeholder.placeholder import Placeholder

from foundation.errors import ConfigError
from pipeline.definition.config import RunConfig, override, settings
from pipeline.definition.dag import Places, create_pipeline
from pipeline.definition.presets import PRESETS, preset
from pipeline.definition.settings import (
    OWN_NETWORK,
    Setting,
    all_settings,
    as_text,
    in_presets,
    named,
    sections,
    value_of,
)
from pipeline.definition.users import TOLD
from trainer.recipe_config import RECIPES

NETWORK = """
import tf_keras
def small(image_shape, classes):
    image = tf_keras.Input(image_shape)
    return tf_keras.Model(image, tf_keras.layers.Dense(classes)(tf_keras.layers.Flatten()(image)))
"""

BASE = [
    "data.dataset=/tmp/pets/span-3",
    "data.span=3",
    "data.class_names=a,b,c,d,e,f,g,h,i,j",
    "tuner.trials=2",
    "trainer.epochs=3",
    "trainer.strategy=tpu",
    "serving.platform=docker",
    "gates.best=0.1",
]
"""A configuration in which most settings do something."""

OTHERS = {
    "data.dataset": "/tmp/dogs/span-3",
    "data.train": "train[:9]",
    "data.validation": "train[9:]",
    "data.test": "test[:9]",
    "data.image_shape": "32,32,3",
    "data.classes": "9",
    "data.class_names": "a,b,c,d,e,f,g,h,i,k",
    "data.resize": "28,28",
    "attack.names": "fgsm,pgd:7",
    "trainer.network": "network_that_is_told:small",  # of a name that no other test imports
    "trainer.tpu": "mine",
    "trainer.filters": "8,8,8",
    "trainer.kernel_size": "3",
    "trainer.stride": "2",
    "tuner.epochs": "2",
    "serving.tag": "2.1.0",
}
"""Values that no rule finds."""

NEEDS = {
    "trainer.workers": ["trainer.strategy=multi_worker"],
    "recipe.warm_up": ["recipe.ramp=0.5"],
    "threat.norm": ["recipe.name=trades"],
}
"""What a setting needs to do something."""


def other(setting: Setting, value: Any) -> str:
    """Another value, as `--set` takes it."""
    if setting.name in OTHERS:
        return OTHERS[setting.name]
    if setting.choices:
        return next(each for each in setting.choices if each not in (value, "auto"))
    if isinstance(value, bool):
        return str(not value).lower()
    if isinstance(value, list):
        return "7,7"
    return str(value + 1) if isinstance(value, int) else str(value / 2 or 0.5)


def nodes_of(config: RunConfig) -> dict[str, dict[str, str]]:
    """What each node is told by the configuration itself, not by another node."""
    places = Places(pipeline_root="a", serving="s", spans="sp", checkpoints="c", run_id="r")
    return {
        node.id: {
            name: re.sub("0x[0-9a-f]+", "", str(value))
            for name, value in node.exec_properties.items()
            if not isinstance(value, Placeholder)
        }
        for node in create_pipeline(config, places, []).components
    }


@pytest.fixture(scope="module")
def base() -> RunConfig:
    return override(preset("robust"), BASE)


@pytest.mark.parametrize("name", list(all_settings()))
def test_a_setting_is_told_to_the_nodes_that_it_says(
    name: str, base: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "network_that_is_told.py").write_text(NETWORK)
    monkeypatch.syspath_prepend(str(tmp_path))
    setting = all_settings()[name]
    recipe = [f"recipe.name={setting.recipes[-1]}"] if setting.recipes else []
    needed = [*recipe, *NEEDS.get(name, [])]
    if name == "data.classes":
        needed.append("data.class_names=a,b,c,d,e,f,g,h,i")
    before = override(base, [*recipe, *NEEDS.get(name, [])])
    after = override(before, [*needed, f"{name}={other(setting, value_of(before, setting))}"])
    assert before != after
    old, new = nodes_of(before), nodes_of(after)
    changed = {node for node in {*old, *new} if old.get(node) != new.get(node)}
    told = set(setting.told)
    if name == "trainer.workers":
        told.discard("FrontTuner")  # which cannot search with several
    assert changed == told


@pytest.mark.parametrize("name", list(all_settings()))
def test_every_setting_explains_itself(name: str) -> None:
    setting = all_settings()[name]
    assert len(setting.meaning) > 10, "its docstring says nothing of it"
    assert setting.meaning.endswith(".")
    assert setting.values
    assert setting.told


def test_every_setting_of_every_recipe_is_known() -> None:
    known: set[str] = set()
    for recipe in RECIPES:
        values = json.loads(override(RunConfig(preset=""), [f"recipe.name={recipe}"]).to_json())
        known |= set(settings(values))
    assert set(all_settings()) == known
    assert set(TOLD) <= {*known, *sections()}, "of a setting that there is not"
    assert all(sections().values())


def test_values_and_defaults_are_those_of_the_configuration() -> None:
    defaults = RunConfig(preset="")
    for setting in all_settings().values():
        if not setting.recipes or defaults.recipe.name in setting.recipes:
            assert value_of(defaults, setting) == setting.default, setting.name
    assert in_presets(all_settings()["threat.epsilon"]) == {
        name: preset(name).threat.epsilon for name in PRESETS
    }
    assert list(in_presets(all_settings()["recipe.bound_share"])) == ["robust", "record", "fashion"]


def test_what_makes_a_setting_do_nothing() -> None:
    known = all_settings()
    assert known["tuner.epochs"].unused_with == ["tuner.trials=0"]
    assert known["trainer.l1"].unused_with == ["recipe.name=tutorial"]
    assert known["trainer.filters"].unused_with == [f"trainer.network={OWN_NETWORK}"]
    assert len(known["trainer.workers"].unused_with) == 4
    assert known["recipe.box"].recipes == ["sabr"]
    assert known["gates.clean"].unused_with == []


def test_ranges_and_choices_are_said() -> None:
    known = all_settings()
    assert known["seed"].values == "a whole number from 0 to 4294967295"
    assert known["data.image_shape"].values == "three whole numbers, each at least 1"
    assert known["recipe.name"].choices == list(RECIPES)
    assert "sabr: The interval bound of a small box" in known["recipe.name"].meaning_of_choices
    assert "cosine: a short climb" in known["trainer.schedule"].meaning_of_choices
    assert "proofs_hold: no attack" in known["gates.checks"].meaning_of_choices


def test_a_setting_is_found_by_name_section_and_last_part() -> None:
    assert [s.name for s in named("trainer.epochs")] == ["trainer.epochs"]
    assert [s.name for s in named("epochs")] == ["trainer.epochs", "tuner.epochs"]
    assert {s.section for s in named("gates")} == {"gates"}
    with pytest.raises(ConfigError, match=r"did you mean trainer.epochs or tuner.epochs"):
        named("epoch")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "none"),
        (True, "true"),
        ([1, "a"], "1,a"),
        (0.1 + 0.2, "0.3"),
        (8 / 255, "0.0313725490196078"),
    ],
)
def test_values_as_text(value: Any, text: str) -> None:
    assert as_text(value) == text
