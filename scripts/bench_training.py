"""The benchmark's third part: images per second in training, beside NSL's own `fit` and a bare
loop.

All train the tutorial's network on MNIST with PGD, the same number of steps, and Adam.
"""

import statistics
import time
from collections.abc import Callable
from typing import Any

import click
import numpy as np
import tensorflow as tf
import tf_keras
from measurement import target_table

from components.datasets.batches import image_batches
from components.datasets.prepare import prepare
from robustness.config import ThreatModel
from trainer.config import TrainerConfig
from trainer.dataset import Split, training_batches
from trainer.network import build_network
from trainer.nsl import import_nsl
from trainer.recipe_config import PgdConfig
from trainer.recipes import build_recipe
from trainer.step import Course

EPSILON, BATCH = 0.3, 128
ATTACK_STEPS = (1, 5, 10)
IMAGE_PASSES = 700
"""Training steps of one measurement, times the attack's steps plus one."""

CONFIG = TrainerConfig(batch_size=BATCH)
SHAPE, CLASSES = (28, 28, 1), 10
Fit = Callable[[int], Any]
"""Trains for so many steps."""


def recipe_model(attack_steps: int) -> tf_keras.Model:
    """Our step: the recipe `pgd`."""
    network = build_network(CONFIG, SHAPE, CLASSES)
    recipe = build_recipe(
        PgdConfig(attack_steps=attack_steps), network, ThreatModel(epsilon=EPSILON)
    )
    # Without a ramp and with a constant rate, the number of steps does not matter.
    course = Course(steps=1, global_batch=BATCH, l1=0.0, seed=0)
    return recipe.model(tf_keras.optimizers.Adam(), course)


def ours(batches: tf.data.Dataset, attack_steps: int) -> Fit:
    """Keras's `fit` of the recipe, as the Trainer calls it."""
    model = recipe_model(attack_steps)
    return lambda steps: model.fit(batches, steps_per_epoch=steps, epochs=1, verbose=0)


def nsl_fit(batches: tf.data.Dataset, attack_steps: int) -> Fit:
    """NSL's own way: `AdversarialRegularization.fit`, of the adversarial loss alone as far as it
    can be had."""
    nsl = import_nsl()
    config = nsl.configs.make_adv_reg_config(
        multiplier=1.0,
        adv_step_size=2.5 * EPSILON / attack_steps,
        adv_grad_norm="infinity",
        pgd_iterations=attack_steps,
        pgd_epsilon=EPSILON,
        random_init=True,
        clip_value_min={"image": 0.0},
        clip_value_max={"image": 1.0},
    )
    network = build_network(CONFIG, SHAPE, CLASSES)
    model = nsl.keras.AdversarialRegularization(network, label_keys=["label"], adv_config=config)
    model.compile(
        tf_keras.optimizers.Adam(), tf_keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    )
    batches = batches.map(lambda batch: {"image": batch["image"], "label": batch["label"]})
    return lambda steps: model.fit(batches, steps_per_epoch=steps, epochs=1, verbose=0)


def bare_loop(batches: tf.data.Dataset, attack_steps: int) -> Fit:
    """The same mathematics as one hand-written function: no Keras around it, no NSL inside."""
    network = build_network(CONFIG, SHAPE, CLASSES)
    optimizer = tf_keras.optimizers.Adam()
    size = 2.5 * EPSILON / attack_steps

    def loss(x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        return tf.reduce_mean(
            tf.nn.sparse_softmax_cross_entropy_with_logits(labels=y, logits=network(x))
        )

    @tf.function
    def step(x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        x_adv = x + tf.random.uniform(tf.shape(x), -EPSILON, EPSILON)
        for _ in range(attack_steps):
            x_adv = tf.clip_by_value(tf.clip_by_value(x_adv, x - EPSILON, x + EPSILON), 0.0, 1.0)
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(x_adv)
                value = loss(x_adv, y)
            x_adv += size * tf.sign(tape.gradient(value, x_adv))
        x_adv = tf.clip_by_value(tf.clip_by_value(x_adv, x - EPSILON, x + EPSILON), 0.0, 1.0)
        with tf.GradientTape() as tape:
            value = loss(x_adv, y)
        variables = network.trainable_variables
        optimizer.apply_gradients(zip(tape.gradient(value, variables), variables, strict=True))
        return value

    iterator = iter(batches)

    def fit(steps: int) -> None:
        for _ in range(steps):
            batch = next(iterator)
            step(batch["image"], batch["label"])

    return fit


def one_batch(batches: tf.data.Dataset) -> tf.data.Dataset:
    """The same batch over and over: what an input pipeline without any cost would give."""
    return batches.take(1).cache().repeat().with_options(batches.options())


def training_section(runs: int, written: str) -> str:
    """Measure, and give the Markdown."""
    train = next(image_batches(prepare("mnist", None), "train[:55000]", 55_000))
    split = Split(train.x, np.asarray(train.y))
    batches = training_batches(split, BATCH, 0, 0, positions=True)(tf.distribute.InputContext())
    rates = {
        attack_steps: images_per_second(batches, attack_steps, runs)
        for attack_steps in ATTACK_STEPS
    }
    return report(rates, written)


def images_per_second(
    batches: tf.data.Dataset, attack_steps: int, runs: int
) -> dict[str, list[float]]:
    """Of each side, run by run; the sides take turns."""
    click.echo(f"training, {attack_steps} attack steps")
    fits = {
        "ours": ours(batches, attack_steps),
        "nsl": nsl_fit(batches, attack_steps),
        "bare": bare_loop(batches, attack_steps),
        "fed": ours(one_batch(batches), attack_steps),
    }
    steps = IMAGE_PASSES // (attack_steps + 1)
    rates: dict[str, list[float]] = {name: [] for name in fits}
    for i in range(runs + 1):  # the first is a warm-up
        for name, fit in fits.items():
            begin = time.monotonic()
            fit(steps)
            if i:
                rates[name].append(steps * BATCH / (time.monotonic() - begin))
    return rates


def report(rates: dict[int, dict[str, list[float]]], written: str) -> str:
    """The tables in Markdown."""

    def ratios(attack_steps: int, over: str, under: str) -> tuple[float, float]:
        """Images per second of two sides: the median of the ratios run by run, and the ratio of
        the medians."""
        a, b = rates[attack_steps][over], rates[attack_steps][under]
        run_by_run = statistics.median(x / y for x, y in zip(a, b, strict=True))
        return run_by_run, statistics.median(a) / statistics.median(b)

    def shown(pair: tuple[float, float]) -> str:
        return "{:.2f} run by run, {:.2f} of the medians".format(*pair)

    targets = []
    for steps in rates:
        nsl = ratios(steps, "ours", "nsl")
        bare, fed = ratios(steps, "bare", "ours"), ratios(steps, "fed", "ours")
        targets += [
            (
                f"images per second, PGD-{steps}: our step / `fit` of NSL's model",
                shown(nsl),
                "at least 1.8",
                min(nsl) >= 1.8,
            ),
            (
                f"time, PGD-{steps}: our step / bare hand-written loop",
                shown(bare),
                "at most 1.15",
                max(bare) <= 1.15,
            ),
            (
                f"time, PGD-{steps}: our input pipeline / one batch over and over",
                shown(fed),
                "at most 1.05",
                max(fed) <= 1.05,
            ),
        ]
    every = "\n".join(
        f"| {steps} | "
        + " | ".join(f"{statistics.median(column):,.0f}" for column in sides.values())
        + " |"
        for steps, sides in rates.items()
    )
    return f"""## Training

{written}.
The tutorial's network, batches of {BATCH}, PGD, Adam. Each ratio is given twice: as the median of
the ratios run by run, and as the ratio of the medians in the second table. A target is met when
both meet it; where they differ, the machine was not quiet. A time below 1 over one batch over and
over, which no input pipeline can beat, is noise.

{target_table(targets)}

| attack steps | our step | NSL's `fit` | bare loop | our step on one batch |
|---|---|---|---|---|
{every}
"""
