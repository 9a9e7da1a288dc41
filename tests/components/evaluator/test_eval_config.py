"""Gates as a TFMA EvalConfig."""

import pytest

from components.evaluator.asked import gates
from components.evaluator.eval_config import eval_config
from components.evaluator.gate import Accuracy, Gap, Gate, Op
from components.evaluator.metrics import gates_of
from foundation.errors import ConfigError
from pipeline.definition.presets import PRESETS, preset

OWN = [Accuracy(name="mine", bound=0.5, argument=("clean",)), Gap(name="gap", bound=0.25)]


@pytest.mark.parametrize("name", [*PRESETS, "own"])
def test_every_gate_has_a_threshold_on_all_images(name: str) -> None:
    wanted: list[Gate] = OWN if name == "own" else gates(preset(name).gates)
    config = eval_config(wanted)
    assert gates_of(config) == wanted
    (spec,) = config.metrics_specs
    thresholds = [threshold for metric in spec.metrics for threshold in metric.per_slice_thresholds]
    assert len(thresholds) == len(wanted)
    for gate, threshold in zip(wanted, thresholds, strict=True):
        slices = [each.feature_keys or each.feature_values for each in threshold.slicing_specs]
        assert slices == [{}], "all images"
        value = threshold.threshold.value_threshold
        side = "lower_bound" if gate.op is Op.AT_LEAST else "upper_bound"
        assert getattr(value, side).value == gate.bound
        assert [field.name for field, _ in value.ListFields()] == [side]


def test_another_models_signature_and_output() -> None:
    config = eval_config(OWN, signature="rows", prediction="scores")
    (model,) = config.model_specs
    assert (model.signature_name, model.prediction_key) == ("rows", "scores")


@pytest.mark.parametrize("name", ["accuracy", "example_count", "tally", "mine"])
def test_a_gate_has_a_name_of_its_own(name: str) -> None:
    """TFMA would take one metric for the other without a word."""
    with pytest.raises(ConfigError, match=f"got {name} twice"):
        eval_config([*OWN, Gap(name=name, bound=0.5)])
