"""The benchmark's fourth part: what the Evaluator with all gates costs, beside a plain loop of
`model.predict`."""

import json
import statistics
import time
from pathlib import Path

import click
import numpy as np
import tensorflow as tf
import tf_keras
from bench_evaluator import SIZES, evaluated
from measurement import GAUNTLET, measure, target_table

from components.records.shards import list_shards, read_shards
from robustness.config import WITHOUT_CONVERGENCE

SETTINGS = (
    "data.test=test",
    "attack.names=fgsm",
    "attack.checks=true",
    "gates.clean=0",
    "gates.transfer_fgsm=0.001",
    "gates.fgsm=0.001",
    "gates.white_box=0.001",
    "gates.transfer=0.001",
    "gates.worst_class=0.001",
    "gates.gap=0.999",
    "gates.required=fgsm",
    f"gates.checks={','.join(WITHOUT_CONVERGENCE)}",
)
"""All test images, all rows of each and all gates, with bounds that a model of `smoke` passes, and
the cheapest attack: the Evaluator does not see how rows were made."""

MOST_GROWTH = 0.2
"""Share by which the Evaluator's memory may grow with ten times the images: what Beam holds of them
between two stages when it runs in memory."""

CHANGED = "gates.champion=0.0{:02d}"
"""A setting that has only the Evaluator run again."""


def gates_section(runs: int, work: Path, written: str) -> str:
    """Measure, and give the Markdown."""
    root, evaluator = work / "gates", []
    for i in range(runs):
        click.echo(f"gates, run {i + 1} of {runs}")
        settings = [f"--set={setting}" for setting in (*SETTINGS, CHANGED.format(10 + i))]
        command = [GAUNTLET, "run", "--preset", "smoke", "--root", str(root), *settings]
        measure([*command, "--json", str(work / "gates.json")], work / "gates.log")
        summary = json.loads((work / "gates.json").read_text())
        evaluator.append(summary["nodes"]["Evaluator"]["seconds"])
    attacked = root / "artifacts" / "AdversarialExampleGen" / "adversarial_examples"
    folder = max(attacked.iterdir(), key=lambda artifact: int(artifact.name))
    rows_folder = str(folder / "Split-test")
    predict = [plain_loop(summary["pushed"], rows_folder) for _ in range(runs + 1)][1:]
    loop, rows = statistics.median(seconds for seconds, _ in predict), predict[0][1]
    most, seconds = 2 * loop + 20, statistics.median(evaluator)
    target = f"at most {most:.1f} s: twice the loop, and 20 s"
    few, many = (evaluated(images, champion=False, work=work).run for images in SIZES)
    growth = f"at most {MOST_GROWTH:.0%} more than for {SIZES[0]:,}"
    flat = many.peak_gigabytes <= (1.0 + MOST_GROWTH) * few.peak_gigabytes
    lines = [
        ("Evaluator", f"{seconds:.1f} s", target, seconds <= most),
        ("loop of `predict`", f"{loop:.1f} s", "", True),
        (f"memory, {SIZES[0]:,} images", f"{few.peak_gigabytes:.2f} GB", "", True),
        (f"memory, {SIZES[1]:,} images", f"{many.peak_gigabytes:.2f} GB", growth, flat),
    ]
    return f"""## Gates

{written}.
The Evaluator with all gates over {rows:,} rows, 10,000 images with all their attacks, and a loop
that reads the same rows and calls `predict` on batches of 500 (medians of {runs}). The target is
computed from the loop of the same call. Memory: the Evaluator's process on planted rows, five an
image (`scripts/bench_evaluator.py`).

{target_table(lines)}
"""


def plain_loop(model: str, folder: str) -> tuple[float, int]:
    """Seconds and number of rows of a loop that reads rows and predicts them."""
    network = tf_keras.models.load_model(model, compile=False)
    pixels = {"image": tf.io.FixedLenFeature(network.input_shape[1:], tf.float32)}
    begin, answers = time.monotonic(), []
    for batch in read_shards(list_shards(folder)).batch(500):
        answers.append(network.predict(tf.io.parse_example(batch, pixels)["image"], verbose=0))
    return time.monotonic() - begin, len(np.concatenate(answers))
