"""Trains the models that benchmarks and peer tests attack, on real MNIST, and keeps them in data/models/.

    python scripts/reference_models.py [fast_at] [mtl_ibp] [undefended]

Both defended ones have the 166,406 weights of Wong et al. 2020: two strided convolutions of 16 and 32
filters, a dense layer of 100.

fast_at: Fast AT (Wong et al. 2020, their MNIST settings): a random start, one step of 1.25 epsilon, 10
    epochs, cyclic Adam up to 0.005, epsilon 0.3. Its published accuracy under AutoAttack is 82.93 %.
mtl_ibp: MTL-IBP (De Palma et al. 2024) at epsilon 0.3: the same single-step term plus the interval bound.
undefended: the same network on clean images, the source of transferred attacks.
"""

import os
from pathlib import Path

os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import click
import numpy as np
import tensorflow as tf
import tf_keras

from components.datasets.batches import image_batches
from components.datasets.prepare import prepare
from robustness.bounds.certifier import Certifier

FOLDER = Path(__file__).parent.parent / "data" / "models"
EPSILON, BATCH = 0.3, 100
EPOCHS = {"fast_at": 10, "mtl_ibp": 30, "undefended": 3}
RAMP = 12
"""Epochs over which MTL-IBP's epsilon grows from 0."""

SHARE = 0.3
"""Weight of MTL-IBP's interval term."""


def network() -> tf_keras.Model:
    """Images to logits."""
    layers = tf_keras.layers
    return tf_keras.Sequential(
        [
            layers.Input((28, 28, 1), name="image"),
            layers.Conv2D(16, 4, strides=2, padding="same", activation="relu"),
            layers.Conv2D(32, 4, strides=2, padding="same", activation="relu"),
            layers.Flatten(),
            layers.Dense(100, activation="relu"),
            layers.Dense(10, name="logits"),
        ]
    )


def train(name: str, epochs: int, images: np.ndarray, labels: np.ndarray) -> tf_keras.Model:
    """One model; progress goes to standard output."""
    tf_keras.utils.set_random_seed(0)
    model = network()
    certifier = Certifier(model, (28, 28, 1), EPSILON)
    optimizer = tf_keras.optimizers.Adam(0.0)

    def cross_entropy(logits: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=y, logits=logits))

    @tf.function
    def step(x: tf.Tensor, y: tf.Tensor, epsilon: tf.Tensor, rate: tf.Tensor) -> tf.Tensor:
        x_adv = x
        if name != "undefended":
            # As Fast AT does, the start is not cut to [0, 1]: on black pixels that would leave too little to chance.
            start = x + tf.random.uniform(tf.shape(x), -epsilon, epsilon)
            with tf.GradientTape() as inner:
                inner.watch(start)
                loss = cross_entropy(model(start, training=False), y)
            moved = start + 1.25 * epsilon * tf.sign(inner.gradient(loss, start))
            x_adv = tf.clip_by_value(tf.clip_by_value(moved, x - epsilon, x + epsilon), 0.0, 1.0)
        with tf.GradientTape() as tape:
            loss = cross_entropy(model(x_adv, training=True), y)
            if name == "mtl_ibp":
                margins = certifier.interval_margins(x, y, epsilon)
                worst = tf.where(tf.math.is_inf(margins), 0.0, -margins)
                loss = (1 - SHARE) * loss + SHARE * cross_entropy(worst, y)
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.learning_rate.assign(rate)
        optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
        return loss

    random, steps = np.random.default_rng(0), len(labels) // BATCH
    for epoch in range(epochs):
        order, losses = random.permutation(len(labels)), []
        for i in range(steps):
            chosen, time = order[i * BATCH : (i + 1) * BATCH], epoch + i / steps
            epsilon, rate = schedule(name, time, epochs)
            losses.append(step(images[chosen], labels[chosen], tf.constant(epsilon), tf.constant(rate)))
        click.echo(f"{name}: epoch {epoch + 1} of {epochs}, loss {np.mean(losses):.4f}")
    return model


def schedule(name: str, time: float, epochs: int) -> tuple[float, float]:
    """Epsilon and learning rate at a time in epochs."""
    if name == "undefended":
        return 0.0, 1e-3
    if name == "fast_at":  # cyclic: up over two fifths, down to zero
        return EPSILON, float(np.interp(time, [0, epochs * 2 / 5, epochs], [0.0, 5e-3, 0.0]))
    rate = 1e-3 * 0.2 ** (time > 0.75 * epochs) * 0.2 ** (time > 0.9 * epochs)
    return EPSILON * 1.05 * min(1.0, time / RAMP), rate


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(list(EPOCHS)))
@click.option("--epochs", type=int, default=None, help="Fewer epochs than the recipe's, for tests.")
@click.option("--folder", type=click.Path(path_type=Path), default=FOLDER, show_default=True)
def main(names: tuple[str, ...], epochs: int | None, folder: Path) -> None:
    """Train the named models (default: all) that are not there yet."""
    batches = list(image_batches(prepare("mnist", None), "train", 10_000))
    images, labels = np.concatenate([b.x for b in batches]), np.concatenate([b.y for b in batches])
    for name in names or EPOCHS:
        if not (folder / name / "saved_model.pb").exists():
            model = train(name, epochs or EPOCHS[name], images, labels)
            model.save(folder / name, save_format="tf", include_optimizer=False)
        click.echo(str(folder / name))


if __name__ == "__main__":
    main()
