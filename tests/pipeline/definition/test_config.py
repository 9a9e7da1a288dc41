"""Presets and `--set`: what is accepted, and what every mistake is answered with."""

import json
import subprocess
import sys

import pytest

from components.adversarial_example_gen.config import AttackConfig
from foundation.errors import ConfigError
from pipeline.definition.config import RunConfig, override
from pipeline.definition.presets import PRESETS, preset
from robustness.config import AttackName, BoundName, Norm
from robustness.suites import SuiteName, attacks_of, bounds_of, suite
from trainer.config import StrategyName


@pytest.mark.parametrize("name", list(PRESETS))
def test_presets_survive_json(name: str) -> None:
    assert RunConfig.from_json(preset(name).to_json()) == preset(name)


def test_settings_are_converted_to_their_types() -> None:
    assignments = [
        "seed=7", "trainer.filters=8, 16", "trainer.strategy=mirrored", "threat.norm=l2", "threat.epsilon=0.3",
        "attack.suite=autoattack", "attack.names=pgd, apgd-t", "gates.certified=0.5", "data.train=train[:100]",
    ]  # fmt: skip
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


def test_later_assignments_win_and_nothing_else_changes() -> None:
    config = override(preset("smoke"), ["trainer.epochs=3", "trainer.epochs=4"])
    assert config.trainer.epochs == 4
    assert override(config, ["trainer.epochs=2"]) == preset("smoke")


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("trainer.epochs", "takes section.key=value, got 'trainer.epochs'"),
        (
            "trainer.epoch=2",
            "unknown setting 'trainer.epoch'; the settings are seed, data.dataset, "
            ".*trainer.epochs",
        ),
        ("training.epochs=2", "unknown setting 'training.epochs'; the settings are"),
        ("preset=smoke", "unknown setting 'preset'"),
        ("trainer=1", "unknown setting 'trainer'"),
        ("trainer.epochs=two", "trainer.epochs='two': .*integer"),
        ("trainer.epochs=0", "trainer.epochs is at least 1, got 0"),
        ("trainer.learning_rate=-1", "trainer.learning_rate is positive and finite, got -1.0"),
        ("trainer.strategy=tpus", "trainer.strategy='tpus': Input should be 'auto', 'one_device'"),
        ("recipe.name=magic", "recipe.name='magic': Input should be 'undefended', 'tutorial'"),
        (
            "attack.names=fgsm,cw",
            "attack.names.1='cw': Input should be 'fgsm', 'pgd', 'pgd-margin', .* or 'square'",
        ),
        ("attack.names=pgd,fgsm,pgd", "each attack is named once, got pgd, fgsm, pgd"),
        ("attack.suite=slow", "attack.suite='slow': Input should be 'fast' or 'autoattack'"),
        ("attack.steps=20", "unknown setting 'attack.steps'; .* attack.suite, attack.names"),
        ("seed=-1", "seed is a whole number from 0 to 4294967295, got -1"),
        (
            "trainer.kernel_size=4,3",
            "trainer.kernel_size is one number, or one for each of the 3 convolutions .* got 4,3",
        ),
        ("trainer.stride=0", "trainer.stride is at least 1, got 0"),
        ("trainer.filters=8,8,8,8,8", "shrinks images of shape .* to nothing"),
        ("trainer.learning_rate=inf", "trainer.learning_rate is positive and finite, got inf"),
        ("threat.norm=l1", "threat.norm='l1': Input should be 'linf' or 'l2'"),
        ("threat.epsilon=-0.1", "epsilon is a finite number >= 0, got -0.1"),
        ("threat.epsilon=nan", "epsilon is a finite number >= 0, got nan"),
        ("gates.clean=98", r"gates.clean is a fraction in \[0, 1\], got 98.0"),
        ("gates.certified=-0.1", r"gates.certified is a fraction in \[0, 1\], got -0.1"),
        ("data.image_shape=28,28", "data.image_shape"),
        ("data.shards=0", "data.shards is at least 1, got 0"),
    ],
)
def test_mistakes_are_named(assignment: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        override(preset("smoke"), [assignment])


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
    own = set(attacks_of(suite(name)))
    assert own <= set(stages), "with the effort of the suite where it contains them"
    published = {
        a
        for a in attacks_of(suite(SuiteName.AUTOATTACK))
        if a.name not in {mine.name for mine in own}
    }
    assert published <= set(stages), "else with the published effort"


def test_the_resolved_configuration_is_stable() -> None:
    values = json.loads(preset("tutorial").to_json())
    assert values["trainer"]["filters"] == [32, 64, 64]
    assert list(values) == sorted(values)
