"""The example of a pipeline that is not ours: it refuses with a reason, and pushes what is good
enough."""

import importlib
from pathlib import Path
from types import ModuleType

import pytest

from components.adversarial_example_gen.config import AttackConfig
from robustness.config import AttackName

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(EXAMPLES)  # as `python examples/foreign_pipeline.py` does
    return importlib.import_module("foreign_pipeline")


@pytest.mark.usefixtures("in_memory_beam")
def test_a_model_is_refused_with_a_reason_and_pushed_by_a_lower_bound(
    example: ModuleType, tmp_path: Path
) -> None:
    attack = AttackConfig(names=(AttackName.FGSM,), checks=False)
    (refusal,) = example.run(tmp_path, 0.95, attack)
    assert refusal.startswith("worst_case: ")
    assert "are right on the clean image and under every attack" in refusal
    assert "the lower end must be >= 95.00%" in refusal
    assert not (tmp_path / "serving").exists()
    assert example.run(tmp_path, 0.5, attack) == []
    assert example.run(tmp_path, 0.95, attack) == [refusal], "from the cache, it is still refused"
    assert len(list((tmp_path / "serving").iterdir())) == 1
    trained = tmp_path / "artifacts" / "Trainer" / "model"
    assert len(list(trained.iterdir())) == 1, "what did not change ran again"
