"""The benchmark's peer: the NSL tutorial as a plain script, without a pipeline.

    python scripts/plain_tutorial.py [--train 55000] [--epochs 5] [--json FILE]

Loads MNIST with tfds, trains the base model and the adversarially regularised one with plain
`fit`, attacks with `perturb_on_batch`, and evaluates both models on the clean and the attacked
images: networks, epochs, batch size and number of training images as in the `tutorial` preset.
"""

import json
import os
from pathlib import Path

os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")

import click
import tensorflow as tf
import tensorflow_datasets as tfds
import tf_keras

from foundation.whole import write_text
from trainer.nsl import import_nsl

BATCH, EPSILON = 32, 0.2


def classifier() -> tf_keras.Model:
    """The tutorial's network, with the softmax that it has there."""
    layers = tf_keras.layers
    return tf_keras.Sequential(
        [
            tf_keras.Input((28, 28, 1), name="image"),
            layers.Conv2D(32, 3, activation="relu"),
            layers.MaxPooling2D(2),
            layers.Conv2D(64, 3, activation="relu"),
            layers.MaxPooling2D(2),
            layers.Conv2D(64, 3, activation="relu"),
            layers.Flatten(),
            layers.Dense(64, activation="relu"),
            layers.Dense(10, activation="softmax"),
        ]
    )


def batches(split: str, shuffle: bool) -> tf.data.Dataset:
    """Dictionaries of 32 images in [0, 1] and their labels."""
    rows = tfds.load("mnist", split=split).map(
        lambda r: r | {"image": tf.cast(r["image"], tf.float32) / 255.0}
    )
    return (rows.shuffle(10_000) if shuffle else rows).batch(BATCH)


@click.command()
@click.option("--train", default=55_000, help="Training images.")
@click.option("--epochs", default=5)
@click.option(
    "--json",
    "json_file",
    type=click.Path(path_type=Path),
    default=None,
    help="Write the accuracies here.",
)
def main(train: int, epochs: int, json_file: Path | None) -> None:
    """Train, attack, evaluate."""
    nsl = import_nsl()
    compiled = {
        "optimizer": "adam",
        "loss": "sparse_categorical_crossentropy",
        "metrics": ["accuracy"],
    }
    training, test = batches(f"train[:{train}]", shuffle=True), batches("test", shuffle=False)

    base = classifier()
    base.compile(**compiled)
    base.fit(training.map(lambda r: (r["image"], r["label"])), epochs=epochs, verbose=2)

    config = nsl.configs.make_adv_reg_config(
        multiplier=0.2, adv_step_size=EPSILON, adv_grad_norm="infinity"
    )
    robust = nsl.keras.AdversarialRegularization(
        classifier(), label_keys=["label"], adv_config=config
    )
    robust.compile(**compiled)
    robust.fit(training, epochs=epochs, verbose=2)

    reference = nsl.keras.AdversarialRegularization(base, label_keys=["label"], adv_config=config)
    reference.compile(**compiled)
    models = {"base": base, "robust": robust.base_model}
    right = {
        (name, images): tf_keras.metrics.SparseCategoricalAccuracy()
        for name in models
        for images in ("clean", "fgsm")
    }
    for row in test:
        attacked = tf.clip_by_value(reference.perturb_on_batch(row)["image"], 0.0, 1.0)
        for name, model in models.items():
            right[name, "clean"].update_state(row["label"], model(row["image"], training=False))
            right[name, "fgsm"].update_state(row["label"], model(attacked, training=False))
    result = {
        f"{name} {images}": float(metric.result()) for (name, images), metric in right.items()
    }
    click.echo(json.dumps(result, allow_nan=False))
    if json_file:
        write_text(json_file, json.dumps(result, allow_nan=False))


if __name__ == "__main__":
    main()
