"""Short trainings by every recipe on several replicas, for `test_distribution.py`.

    python tests/replicas.py TRANSFORM EXAMPLES OUTPUT STRATEGY DEVICES RECIPE...

How many devices and workers there are is settled when TensorFlow starts, hence a process of its
own.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from small_world import run_trainer, training_task

RECIPES: dict[str, dict[str, object]] = {
    "undefended": {},
    "tutorial": {},
    "fast": {},
    "pgd": {"attack_steps": 2},
    "trades": {"attack_steps": 2},
    "mtl-ibp": {"ramp": 0.5, "warm_up": 0.5},
    "sabr": {"ramp": 0.5, "warm_up": 0.5, "attack_steps": 2},
}
"""Every recipe, with settings that bring out what it has."""

OPTIONS: dict[str, object] = {"gradient_clip": 0.2, "l1": 1e-3, "weight_averaging": 0.8}
"""All that replicas must agree on besides the loss; not in `tutorial`, which has no L1, nor in
`undefended`."""

BETA_1 = 0.9
"""Adam's: after one step its first moment is (1 - BETA_1) times the gradient."""


def task_of(recipe: str, **changes: object) -> dict[str, Any]:
    """Two epochs of six steps."""
    options = {} if recipe in ("undefended", "tutorial") else OPTIONS
    return training_task(recipe, RECIPES[recipe], epochs=2, scaling="fixed", **options, **changes)


def train(
    world: SimpleNamespace, recipe: str, strategy: Any, folder: Path
) -> dict[str, np.ndarray]:
    """`gradient`: of the first step, all variables in one vector. `weights`: after twelve steps, as
    exported."""
    import pydantic
    import tensorflow_transform as tft

    import trainer.training
    from trainer.config import TrainingTask
    from trainer.dataset import load_split
    from trainer.validation import Scores

    found: dict[str, np.ndarray] = {}

    class Recorder(trainer.training.Watch):
        def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
            super().on_train_batch_end(batch, logs)
            if "gradient" not in found:
                found["gradient"] = flat(self.model.optimizer._momentums) / (1 - BETA_1)

    class NoAttack(trainer.training.Validator):  # compiling it takes most of the time
        def measure(self, weights: list[Any]) -> Scores:
            found["weights"] = flat(weights)
            return Scores(0.5, 0.5, 0.5)

    task = pydantic.TypeAdapter(TrainingTask).validate_python(task_of(recipe) | {"checkpoints": ""})
    transform = tft.TFTransformOutput(world.transform)
    splits = [
        load_split([f"{world.examples}/Split-{split}/*"], transform)
        for split in ("train", "validation")
    ]
    originals = trainer.training.Watch, trainer.training.Validator
    trainer.training.Watch, trainer.training.Validator = Recorder, NoAttack
    try:
        trainer.training.Training(task, strategy, *splits, str(folder / recipe)).run(
            str(folder / "logs")
        )
    finally:
        trainer.training.Watch, trainer.training.Validator = originals
    return found


def flat(variables: Sequence[Any]) -> np.ndarray:
    """All values in one vector."""
    return np.concatenate([np.ravel(variable) for variable in variables])


def main() -> None:
    """Train, and write `RECIPE-gradient` and `RECIPE-weights`. On several workers, run `run_fn`
    first, with the same folders on all of them."""
    import tensorflow as tf

    from trainer.config import StrategyName, TrainerConfig
    from trainer.strategy import make_strategy

    transform, examples, output, name, devices, *recipes = sys.argv[1:]
    world, folder = SimpleNamespace(transform=transform, examples=examples), Path(output).parent
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(
        cpu, [tf.config.LogicalDeviceConfiguration()] * int(devices)
    )
    if name == StrategyName.MULTI_WORKER:
        run_trainer(world, folder / "platform", task_of("pgd", strategy=name, workers=7))
        assert os.path.exists(folder / "platform/Format-Serving/saved_model.pb"), (
            "returned before the chief's export"
        )
    strategy = make_strategy(TrainerConfig(strategy=StrategyName(name)))
    assert strategy.num_replicas_in_sync > 1
    trained = {recipe: train(world, recipe, strategy, folder) for recipe in recipes}
    np.savez(
        output,
        **{f"{recipe}-{name}": v for recipe, found in trained.items() for name, v in found.items()},
    )


if __name__ == "__main__":
    main()
