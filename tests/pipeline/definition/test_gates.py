"""From the configuration to gates, and what no model can pass."""

import pytest

from components.evaluator.asked import gates
from components.evaluator.gate import Op
from components.evaluator.metrics import gates_of
from components.policy import GatesConfig
from foundation.errors import ConfigError
from pipeline.definition.config import override
from pipeline.definition.eval_config import eval_config
from pipeline.definition.gates import out_of_reach
from pipeline.definition.presets import PRESETS, preset
from robustness.config import CheckName


@pytest.mark.parametrize("name", list(PRESETS))
def test_the_evaluator_is_told_every_gate(name: str) -> None:
    config = preset(name)
    assert gates_of(eval_config(config)) == gates(config.gates)


def test_what_is_set_becomes_a_gate() -> None:
    settings = [
        "clean=0.5",
        "white_box=0.4",
        "gap=0.3",
        "worst_class=0.2",
        "required=square,ibp",
        "checks=proofs_hold",
    ]
    found = {
        gate.name: gate
        for gate in gates(override(preset("smoke"), [f"gates.{s}" for s in settings]).gates)
    }
    assert found["clean"].bound == 0.5
    assert found["white_box"].argument == ("strongest@robust",)
    assert (found["gap"].op, found["gap"].bound) == (Op.AT_MOST, 0.3)
    assert found["required"].argument == ("square", "ibp")
    assert {name for name in found if name in set(CheckName)} == {"proofs_hold"}
    assert "champion_clean" in found
    assert not any(gate.name.startswith("champion") for gate in gates(GatesConfig(champion=0.0)))


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ([], []),
        (["gates.required=ibp,pgd"], []),
        (["gates.required=ibp,square,fab-t"], ["square, fab-t, which attack"]),
        (
            ["gates.checks=proofs_hold", "gates.required=square"],
            ["square, which attack", "honesty checks"],
        ),
    ],
)
def test_what_no_model_can_pass_is_said_before_the_run(
    settings: list[str], names: list[str]
) -> None:
    found = out_of_reach(override(preset("smoke"), settings))
    assert len(found) == len(names)
    for text, name in zip(found, names, strict=True):
        assert name in text


@pytest.mark.parametrize("name", list(PRESETS))
def test_the_gates_of_a_preset_can_be_passed(name: str) -> None:
    assert out_of_reach(preset(name)) == []


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("gates.gap=1.5", "gates.gap is a fraction"),
        ("gates.required=sqare", "gates.required"),
        ("gates.checks=none_such", "gates.checks"),
    ],
)
def test_wrong_settings(setting: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        override(preset("smoke"), [setting])
