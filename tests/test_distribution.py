"""Several replicas and workers: the same weights as one device, one writer, and a clear end when one dies."""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tf_keras
from small_world import trainer_arguments, training_task

from trainer.config import RecipeName

CHANGES: dict[RecipeName, dict[str, object]] = {
    RecipeName.PGD: {"attack_steps": 3},
    RecipeName.TRADES: {"attack_steps": 2},
    RecipeName.MTL_IBP: {"ramp": 0.5, "warm_up": 0.5},
    RecipeName.SABR: {"ramp": 0.5},
}
SETTINGS = {"epochs": 2, "scaling": "fixed", "weight_averaging": 0.9, "l1": 1e-3}


def task_of(recipe: RecipeName, **changes: object) -> dict[str, object]:
    return training_task(recipe, CHANGES.get(recipe), **(SETTINGS | changes))


def arguments_of(small_world: SimpleNamespace, folder: Path, task: dict[str, object]) -> dict[str, object]:
    return trainer_arguments(small_world, folder, task)


def weights_of(folder: Path) -> list[np.ndarray]:
    return tf_keras.models.load_model(folder / "Format-Serving", compile=False).get_weights()


@pytest.mark.slow
@pytest.mark.parametrize("replicas", [2, 4])
def test_replicas_end_with_the_weights_of_one_device(
    small_world: SimpleNamespace, tmp_path: Path, replicas: int
) -> None:
    """MirroredStrategy on virtual CPUs at the same global batch, every recipe, by gradient descent."""
    recipes = list(RecipeName) if replicas == 2 else [RecipeName.MTL_IBP, RecipeName.TUTORIAL]
    todo = {
        f"{recipe}.{strategy}": trainer_arguments(
            small_world, tmp_path / f"{recipe}-{strategy}", task_of(recipe, strategy=strategy, learning_rate=0.1)
        )
        for recipe in recipes
        for strategy in ("one_device", "mirrored")
    }
    command = [sys.executable, str(Path(__file__).parent / "replicas.py"), str(replicas), str(tmp_path / "weights.npz")]
    subprocess.run(command, input=json.dumps(todo), text=True, check=True)
    weights = np.load(tmp_path / "weights.npz")
    for name in weights.files:
        if ".one_device." in name:
            other = weights[name.replace("one_device", "mirrored")]
            np.testing.assert_allclose(other, weights[name], atol=2e-5, err_msg=name)
