"""What can be asked of the evaluator, and what is refused at once."""

from pathlib import Path
from typing import Any

import pytest

from foundation.errors import ConfigError
from gauntlet.evaluation.task import EvaluationTask
from robustness.config import AttackName, Norm, ThreatModel


def task(**options: Any) -> EvaluationTask:
    return EvaluationTask(model=Path("m"), output=Path("o"), **options)


def test_each_radius_is_evaluated_once_and_a_norm_has_a_default() -> None:
    assert [threat.epsilon for threat in task(epsilons=(0.3, 0.1, 0.3)).threats] == [0.3, 0.1]
    assert task().threats == (ThreatModel(norm=Norm.LINF, epsilon=0.2),)
    assert task(norm=Norm.L2).threats == (ThreatModel(norm=Norm.L2, epsilon=2.0),)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epsilons": (0.1, -1.0)}, "epsilon is a finite number >= 0"),
        ({"attacks": (AttackName.PGD, AttackName.PGD)}, "each attack is named once"),
    ],
)
def test_mistakes_are_found_before_anything_is_loaded(
    options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        task(**options)
