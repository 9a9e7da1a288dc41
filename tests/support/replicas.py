"""Short trainings by every recipe on several replicas, for `test_distribution.py`.

    python tests/support/replicas.py TRANSFORM EXAMPLES FOLDER mirrored DEVICES=RECIPE,...
    python tests/support/replicas.py TRANSFORM EXAMPLES FOLDER multi_worker RECIPE,...

How many devices and workers there are is settled when TensorFlow starts, hence a process of its
own. It writes `DEVICES.npz`, or `worker-INDEX.npz`.
"""

import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
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


@contextmanager
def recorded() -> Iterator[dict[str, np.ndarray]]:
    """Of a training meanwhile: `gradient` of the first step, all variables in one vector, and
    `weights` after the last epoch, as exported. Nothing is attacked: compiling that takes most of
    the time."""
    import trainer.training
    from trainer.validation import Scores

    record: dict[str, np.ndarray] = {}

    class Recorder(trainer.training.Watch):
        def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
            super().on_train_batch_end(batch, logs)
            if "gradient" not in record:
                record["gradient"] = flat(self.model.optimizer._momentums) / (1 - BETA_1)

    class NoAttack(trainer.training.Validator):
        def measure(self, weights: list[Any]) -> Scores:
            self.network.set_weights(weights)
            record["weights"] = flat(weights)
            return Scores(0.5, 0.5, 0.5)

    originals = trainer.training.Watch, trainer.training.Validator
    trainer.training.Watch, trainer.training.Validator = Recorder, NoAttack
    try:
        yield record
    finally:
        trainer.training.Watch, trainer.training.Validator = originals


def train(
    world: SimpleNamespace, recipes: Sequence[str], strategy: Any, folder: Path
) -> dict[str, np.ndarray]:
    """`RECIPE-gradient` and `RECIPE-weights` of trainings of two epochs of six steps."""
    import pydantic
    import tensorflow_transform as tft

    from trainer.config import TrainingTask
    from trainer.dataset import load_split
    from trainer.training import Training

    transform = tft.TFTransformOutput(world.transform)
    splits = [
        load_split([f"{world.examples}/Split-{split}/*"], transform)
        for split in ("train", "validation")
    ]
    records: dict[str, np.ndarray] = {}
    for recipe in recipes:
        task = pydantic.TypeAdapter(TrainingTask).validate_python(
            task_of(recipe) | {"checkpoints": ""}
        )
        with recorded() as record:
            Training(task, strategy, *splits, str(folder / recipe)).run(str(folder / "logs"))
        records |= {f"{recipe}-{name}": value for name, value in record.items()}
    return records


def flat(variables: Sequence[Any]) -> np.ndarray:
    """All values in one vector."""
    return np.concatenate([np.ravel(variable) for variable in variables])


def cluster(index: int, addresses: list[str]) -> str:
    """A TF_CONFIG."""
    return json.dumps(
        {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
    )


def on_devices(world: SimpleNamespace, folder: Path, wanted: str) -> None:
    """Train some recipes on so many virtual devices."""
    import tensorflow as tf

    count, _, recipes = wanted.partition("=")
    cpu = tf.config.list_physical_devices("CPU")[0]
    devices = [tf.config.LogicalDeviceConfiguration()] * int(count)
    tf.config.set_logical_device_configuration(cpu, devices)
    strategy = tf.distribute.MirroredStrategy(
        [device.name for device in tf.config.list_logical_devices("CPU")]
    )
    assert strategy.num_replicas_in_sync == int(count)
    trained = train(world, recipes.split(","), strategy, folder / count)
    np.savez(folder / f"{count}.npz", **trained)


def on_workers(world: SimpleNamespace, folder: Path, recipes: Sequence[str]) -> None:
    """Run `run_fn`, with the same folders on all workers, and train some recipes."""
    from trainer.config import DevicesConfig, StrategyName
    from trainer.strategy import make_strategy

    several = StrategyName.MULTI_WORKER
    with recorded():
        run_trainer(world, folder / "platform", task_of("pgd", strategy=several, workers=7))
    assert os.path.exists(folder / "platform/Format-Serving/saved_model.pb"), (
        "returned before the chief's export"
    )
    strategy = make_strategy(DevicesConfig(strategy=several))
    assert strategy.num_replicas_in_sync > 1
    index = json.loads(os.environ["TF_CONFIG"])["task"]["index"]
    np.savez(folder / f"worker-{index}.npz", **train(world, recipes, strategy, folder))


def main() -> None:
    """Train on several replicas."""
    transform, examples, folder, strategy, wanted = sys.argv[1:]
    world = SimpleNamespace(transform=transform, examples=examples)
    if strategy == "mirrored":
        on_devices(world, Path(folder), wanted)
    else:
        on_workers(world, Path(folder), wanted.split(","))


if __name__ == "__main__":
    main()
