"""Presets and `--set`: what is accepted, and what every mistake is answered with."""

import itertools
import json
import subprocess
import sys
from importlib.metadata import version

import pytest

from components.adversarial_example_gen.config import AttackConfig
from foundation.errors import ConfigError
from pipeline.definition.config import RunConfig, override
from pipeline.definition.presets import PRESETS, preset
from robustness.config import AttackName, BoundName, Norm
from robustness.suites import SuiteName, attacks_of, bounds_of, suite
from trainer.config import StrategyName
from trainer.recipe_config import SabrConfig, TradesConfig, TutorialConfig


@pytest.mark.parametrize("name", list(PRESETS))
def test_presets_survive_json(name: str) -> None:
    assert RunConfig.from_json(preset(name).to_json()) == preset(name)


def test_settings_are_converted_to_their_types() -> None:
    assignments = [
        "seed=7",
        "trainer.filters=8, 16",
        "trainer.strategy=mirrored",
        "threat.norm=l2",
        "threat.epsilon=0.3",
        "attack.suite=autoattack",
        "attack.names=pgd, apgd-t",
        "gates.certified=0.5",
        "data.train=train[:100]",
    ]
    config = override(preset("tutorial"), assignments)
    assert config.seed == 7
    assert config.trainer.filters == (8, 16)
    assert config.trainer.strategy is StrategyName.MIRRORED
    assert (config.threat.norm, config.threat.epsilon) == (Norm.L2, 0.3)
    assert config.attack.suite is SuiteName.AUTOATTACK
    assert config.attack.names == (AttackName.PGD, AttackName.APGD_T)
    assert config.gates.certified == 0.5
    assert config.data.train == "train[:100]"
    assert override(config, ["attack.names="]).attack.names == ()


def test_a_list_may_be_written_as_json() -> None:
    names = ["cat, grey", "[a]", "dog", "\u732b"]
    text = json.dumps(names)
    config = override(preset("smoke"), [f"data.class_names={text}", "data.classes=4"])
    assert config.data.class_names == tuple(names)
    assert override(config, ["data.class_names= cat, dog"]).data.class_names == ("cat", "dog")
    assert override(config, ["data.class_names="]).data.class_names == ()


def test_later_assignments_win_and_nothing_else_changes() -> None:
    config = override(preset("smoke"), ["trainer.epochs=3", "trainer.epochs=4"])
    assert config.trainer.epochs == 4
    assert override(config, ["trainer.epochs=2"]) == preset("smoke")


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("trainer.epochs", "takes section.key=value, got 'trainer.epochs'"),
        ("data.class_names=[a", r"a list that begins with \[ is written as JSON, got \[a"),
        ('data.class_names=["a", 1]', "data.class_names.1=1: expected text"),
        ("data.class_names=cat,dog,cat", "data.class_names: cat comes twice; rename the class"),
        ('data.class_names=["a\\n"]', "begins or ends with a space"),
        (
            "trainer.epoch=2",
            "unknown setting 'trainer.epoch': did you mean trainer.epochs[?] "
            "`gauntlet config` lists all settings",
        ),
        ("name=trades", "unknown setting 'name': did you mean recipe.name[?]"),
        ("tuner.epoch=3", "unknown setting 'tuner.epoch': did you mean tuner.epochs[?]"),
        ("train.shards=2", "unknown setting 'train.shards': did you mean data.shards[?]"),
        (
            "training.epochs=2",
            "unknown setting 'training.epochs': did you mean trainer.epochs[?]",
        ),
        ("nonsense.all=2", "unknown setting 'nonsense.all'; `gauntlet config` lists all settings$"),
        ("preset=smoke", "unknown setting 'preset'"),
        ("trainer=1", "unknown setting 'trainer'"),
        ("trainer.epochs=two", "trainer.epochs='two': expected a whole number"),
        ("trainer.epochs=0", "trainer.epochs is at least 1, got 0"),
        ("trainer.learning_rate=-1", "trainer.learning_rate is positive and finite, got -1.0"),
        ("trainer.strategy=tpus", "trainer.strategy='tpus': expected 'auto', 'one_device'"),
        ("recipe.name=magic", "recipe.name='magic': expected 'undefended', 'tutorial'"),
        (
            "attack.names=fgsm,cw",
            "attack.names: unknown attack 'cw'; the attacks are fgsm, pgd, pgd-margin, ",
        ),
        ("attack.names=pgd,fgsm,pgd", "each attack is named once, got pgd, fgsm, pgd"),
        ("attack.suite=slow", "attack.suite='slow': expected 'fast' or 'autoattack'"),
        (
            "attack.steps=20",
            "unknown setting 'attack.steps'; `gauntlet config` lists all settings$",
        ),
        ("seed=-1", "seed is a whole number from 0 to 4294967295, got -1"),
        (
            "trainer.kernel_size=4,3",
            "trainer.kernel_size is one number, or one for each of the 3 convolutions .* got 4,3",
        ),
        ("trainer.stride=0", "trainer.stride is at least 1, got 0"),
        ("trainer.filters=8,8,8,8,8", "shrinks images of shape .* to nothing"),
        ("trainer.learning_rate=inf", "trainer.learning_rate is positive and finite, got inf"),
        ("threat.norm=l1", "threat.norm='l1': expected 'linf' or 'l2'"),
        ("threat.epsilon=-0.1", "epsilon is a finite number >= 0, got -0.1"),
        ("threat.epsilon=8/0", "threat.epsilon='8/0': expected a number"),
        ("threat.epsilon=nan", "epsilon is a finite number >= 0, got nan"),
        ("gates.clean=98", r"gates.clean is a fraction in \[0, 1\], got 98.0"),
        ("gates.required=crown,crown", "gates.required has a name twice: crown,crown"),
        ("gates.certified=-0.1", r"gates.certified is a fraction in \[0, 1\], got -0.1"),
        ("data.image_shape=28,28", r"data.image_shape.2=.*: expected a value for it"),
        ("data.image_shape=28,28,0", "data.image_shape is at least 1, got 0"),
        ("data.resize=8,0", "data.resize is at least 1, got 0"),
        ("data.resize=8", "data.resize.1=.*: expected a value for it"),
        ("data.span=-1", "data.span is at least 1, or 0 for data without spans, got -1"),
        ("attack.checks=perhaps", "attack.checks='perhaps': expected true or false"),
        ("trainer.filters=", "trainer.filters is empty; expected at least one number"),
        ("data.shards=0", "data.shards is at least 1, got 0"),
    ],
)
def test_mistakes_are_named(assignment: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        override(preset("smoke"), [assignment])


@pytest.mark.parametrize(
    ("name", "assignments", "reason"),
    [
        ("robust", ["recipe.beta=3"], "recipe.name=mtl-ibp, only with trades"),
        (
            "smoke",
            ["recipe.attack_steps=2", "recipe.name=fast"],
            "recipe.name=fast, only with pgd, trades, mtl-ibp, sabr",
        ),
        (
            "robust",
            ["recipe.ramp=0.1", "recipe.name=undefended"],
            "recipe.name=undefended, only with fast, pgd, trades, mtl-ibp, sabr",
        ),
        ("robust", ["trainer.filters=8", "trainer.network=a:b"], "trainer.network=a:b"),
        ("smoke", ["trainer.initialization=ibp", "trainer.network=a:b"], "trainer.network=a:b"),
        ("smoke", ["trainer.tpu=mine"], "trainer.strategy=one_device"),
        ("smoke", ["trainer.scaling=linear"], "trainer.strategy=one_device"),
        ("smoke", ["trainer.l1=0.1"], "recipe.name=tutorial"),
        ("smoke", ["tuner.epochs=2"], "tuner.trials=0"),
        ("smoke", ["tuner.clean_floor=0.5"], "tuner.trials=0"),
        ("smoke", ["serving.tag=2.19.0"], "serving.platform=none"),
    ],
    ids=lambda value: "" if isinstance(value, str) else " ".join(value),
)
def test_a_setting_without_effect_is_refused_with_the_reason(
    name: str, assignments: list[str], reason: str
) -> None:
    setting = assignments[0].partition("=")[0]
    for ordered in (assignments, assignments[::-1]):
        with pytest.raises(ConfigError) as raised:
            override(preset(name), ordered)
        problem, _, advice = str(raised.value).partition("; ")
        assert problem == f"{setting} is not used with {reason}"
        assert advice == f"`gauntlet config explain {setting}` says when it is"


@pytest.mark.parametrize("name", list(PRESETS))
def test_what_a_preset_has_there_does_not_stand_in_the_way(name: str) -> None:
    """The preset's own sizes of a network, and every setting as it is."""
    mine = override(preset(name), ["trainer.network=mine:small"])
    assert mine.trainer.network == "mine:small"
    as_they_are = ["trainer.workers=1", "tuner.epochs=0", "serving.tag=2.21.0"]
    assert override(preset(name), as_they_are) == preset(name)


def test_the_server_that_tries_a_model_is_of_the_tensorflow_that_writes_it() -> None:
    """A tag that moves would be another server tomorrow."""
    assert version("tensorflow") == preset("robust").serving.tag


def test_a_mistyped_setting_is_answered_with_those_of_the_chosen_recipe_and_network() -> None:
    chosen = ["recipe.name=trades", "trainer.network=mine:small", "recipe.betta=3"]
    with pytest.raises(ConfigError, match=r"did you mean recipe.beta\?") as raised:
        override(preset("robust"), chosen)
    assert "recipe.bound_share" not in str(raised.value)


def test_a_mistyped_setting_is_told_before_what_follows_from_it() -> None:
    with pytest.raises(ConfigError, match=r"did you mean recipe.ramp\?"):
        override(preset("smoke"), ["recipe.name=sabr", "recipe.warm_up=0.5", "recipe.rampp=0.5"])


def test_another_recipe_keeps_the_settings_that_both_have() -> None:
    """And it does not matter which assignment comes first."""
    assignments = ["recipe.name=trades", "recipe.beta=3", "recipe.attack_steps=5"]
    expected = TradesConfig(epsilon_factor=1.1, ramp=0.4, attack_steps=5, beta=3.0)
    for ordered in itertools.permutations(assignments):
        assert override(preset("robust"), ordered).recipe == expected
    assert override(preset("tutorial"), ["recipe.name=sabr"]).recipe == SabrConfig()
    assert override(preset("robust"), ["recipe.name=tutorial"]).recipe == TutorialConfig()
    assert override(preset("robust"), ["recipe.name=mtl-ibp"]) == preset("robust")


def test_a_wrong_value_of_a_recipe_is_named_as_it_is_set() -> None:
    with pytest.raises(ConfigError, match=r"^recipe.ramp='x': expected a number"):
        override(preset("robust"), ["recipe.ramp=x"])
    with pytest.raises(ConfigError, match=r"^recipe.norm='l1': expected 'infinity' or 'l2'"):
        override(preset("tutorial"), ["recipe.norm=l1"])


def test_a_configuration_of_an_older_version_is_read() -> None:
    """Its recipes had the settings of all of them."""
    values = json.loads(preset("robust").to_json())
    values["recipe"] |= {"beta": 6.0, "box": 0.4, "multiplier": 0.2, "norm": "infinity"}
    assert RunConfig.from_json(json.dumps(values)) == preset("robust")


def test_unknown_preset_lists_the_presets() -> None:
    message = "unknown preset 'tutorail'; the presets are robust, record, fashion, tutorial, smoke"
    with pytest.raises(ConfigError, match=message):
        preset("tutorail")


def test_configuration_is_read_without_tensorflow_and_tfx() -> None:
    """The command line must answer mistakes at once: these imports take ten seconds."""
    code = (
        "import sys, pipeline.definition.presets; "
        "print([m for m in ('tensorflow', 'tfx', 'apache_beam', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", SuiteName)
def test_named_attacks_take_the_place_of_the_suites_own(name: SuiteName) -> None:
    everything = tuple(AttackName)[::-1]
    stages = AttackConfig(suite=name, names=everything).stages
    assert tuple(attack.name for attack in attacks_of(stages)) == everything, (
        "in the order in which they are named"
    )
    assert stages[0] is BoundName.IBP
    assert (stages[0], *stages[1 + len(everything) :]) == bounds_of(suite(name)), (
        "the dearer bounds come last"
    )


def test_the_resolved_configuration_is_stable() -> None:
    values = json.loads(preset("tutorial").to_json())
    assert values["trainer"]["filters"] == [32, 64, 64]
    assert list(values) == sorted(values)
