"""Trains the models that benchmarks and peer tests attack, on real MNIST, and keeps them in
data/models/.

    python scripts/reference_models.py [fast_at] [mtl_ibp] [undefended]

All have the 166,406 weights of Wong et al. 2020: two strided convolutions of 16 and 32 filters, a
    dense layer of 100.

fast_at: Fast AT (Wong et al. 2020, their MNIST settings): a random start, one step of 1.25 epsilon,
    10 epochs, cyclic Adam up to 0.005, epsilon 0.3. Its published accuracy under AutoAttack is
    82.93 %.
mtl_ibp: MTL-IBP (De Palma et al. 2024) at epsilon 0.3: the same single-step term plus the interval
    bound.
undefended: the same network on clean images, the source of transferred attacks.
"""

import os
from pathlib import Path

os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import dataclasses
import logging

import click
import numpy as np
import tf_keras

from components.datasets.batches import image_batches
from components.datasets.prepare import prepare
from robustness.config import ThreatModel
from trainer.config import Padding, Schedule, TrainerConfig, TrainingTask
from trainer.dataset import Split
from trainer.recipe_config import FastConfig, MtlIbpConfig, UndefendedConfig
from trainer.strategy import make_strategy
from trainer.training import Training

FOLDER = Path(__file__).parent.parent / "data" / "models"

NETWORK = TrainerConfig(
    filters=(16, 32),
    kernel_size=(4,),
    stride=(2,),
    padding=Padding.SAME,
    pool_size=1,
    dense=(100,),
    batch_size=100,
)
MODELS = {
    "fast_at": (
        dataclasses.replace(NETWORK, epochs=10, learning_rate=5e-3, schedule=Schedule.CYCLIC),
        FastConfig(),
    ),
    "mtl_ibp": (
        dataclasses.replace(NETWORK, epochs=30, learning_rate=1e-3, schedule=Schedule.DROPS),
        MtlIbpConfig(epsilon_factor=1.05, ramp=0.4, bound_share=0.3),
    ),
    "undefended": (dataclasses.replace(NETWORK, epochs=3), UndefendedConfig()),
}


def train(
    name: str, epochs: int | None, images: np.ndarray, labels: np.ndarray, work: Path
) -> tf_keras.Model:
    """One model; checkpoints and logs go to `work`. The last twelfth of the images is for
    validation."""
    config, recipe = MODELS[name]
    task = TrainingTask(
        config=dataclasses.replace(config, epochs=epochs or config.epochs),
        recipe=recipe,
        threat=ThreatModel(epsilon=0.3),
        image_shape=images.shape[1:],
        classes=10,
        class_names=tuple("0123456789"),
        seed=0,
        checkpoints="",
    )
    cut = len(labels) * 11 // 12
    training = Training(
        task,
        make_strategy(task.config),
        Split(images[:cut], labels[:cut]),
        Split(images[cut:], labels[cut:]),
        checkpoints=str(work / "checkpoints"),
    )
    training.run(str(work / "logs"))
    return training.trained


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(list(MODELS)))
@click.option("--epochs", type=int, default=None, help="Fewer epochs than the recipe's, for tests.")
@click.option("--folder", type=click.Path(path_type=Path), default=FOLDER, show_default=True)
def main(names: tuple[str, ...], epochs: int | None, folder: Path) -> None:
    """Train the named models (default: all) that are not there yet."""
    handler = logging.StreamHandler()
    handler.addFilter(
        lambda record: not hasattr(record, "progress")
    )  # many records a second that only move a bar
    logging.getLogger("gauntlet").addHandler(handler)
    logging.getLogger("gauntlet").setLevel(logging.INFO)
    batches = list(image_batches(prepare("mnist", None), "train", 10_000))
    images, labels = np.concatenate([b.x for b in batches]), np.concatenate([b.y for b in batches])
    for name in names or MODELS:
        if not (folder / name / "saved_model.pb").exists():
            model = train(name, epochs, images, labels, folder / f"{name}.training")
            model.save(folder / name, save_format="tf", include_optimizer=False)
        click.echo(str(folder / name))


if __name__ == "__main__":
    main()
