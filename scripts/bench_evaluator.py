"""Memory and time of the Evaluator alone, by the number of images: rows of 28 x 28 pixels with
random answers, a model that only reads its answer off the pixels, and all gates.

    python scripts/bench_evaluator.py [--images 10000 --images 100000] [--champion]

Each number is measured in a process of its own. 100,000 images take 2 GB of disk for a while.
"""

import dataclasses
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import click
from measurement import Measurement, measure

SIZES = (10_000, 100_000)
SHARDS, CLASSES, SIDE = 8, 10, 28
SETTINGS = (
    "gates.fgsm=0.1", "gates.white_box=0.1", "gates.transfer_fgsm=0.1", "gates.transfer=0.1",
    "gates.worst_class=0.1", "gates.gap=0.9", "gates.required=fgsm",
)  # fmt: skip


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evaluated:
    """One evaluation. peak: of the process, in GB. tally: size of `tally.json` in bytes."""

    rows: int
    run: Measurement
    tally: int


def evaluated(images: int, champion: bool, work: Path) -> Evaluated:
    """Plant rows, evaluate them in a process of their own, and remove them."""
    with tempfile.TemporaryDirectory(dir=work) as folder:
        this = [sys.executable, __file__]
        plant = ["plant", str(images), folder, *(["--champion"] if champion else [])]
        measure([*this, *plant], Path(folder) / "plant.log")
        run = measure([*this, "evaluate", folder], Path(folder) / "evaluate.log")
        tally = Path(folder) / "evaluation" / "tally.json"
        rows = json.loads(tally.read_text())["rows"]
        return Evaluated(rows=rows, run=run, tally=tally.stat().st_size)


def plant_rows(images: int, folder: str, champion: bool) -> None:
    """Write rows and export the model that they were made for."""
    from components.records.checks import write_checks
    from components.records.shards import shard_path, write_shard

    for shard in range(SHARDS):
        ids = range(shard * images // SHARDS, (shard + 1) * images // SHARDS)
        rows = random_rows(ids, champion, seed=shard)
        path = shard_path(f"{folder}/rows/Split-test", shard, SHARDS, compressed=False)
        write_shard(path, rows.serialize())
    write_checks(f"{folder}/rows", [])
    export_reader(f"{folder}/model/Format-Serving")


def random_rows(ids: range, champion: bool, seed: int) -> Any:
    """Rows of images, about as right as a good model's. The answer stands in the pixels: the first
    ones are 1 at the place of the class."""
    import numpy as np

    from components.records.names import (
        CHAMPION,
        CLEAN,
        FGSM,
        ROBUST,
        STRONGEST,
        UNDEFENDED,
        Origin,
    )
    from components.records.record import Rows

    rng, n = np.random.default_rng(seed), len(ids)

    def text(value: str) -> Any:
        return np.full(n, value, object)

    label, right = rng.integers(0, CLASSES, n), rng.random(n) < 0.98
    robust = right & (rng.random(n) < 0.95)
    sources = (UNDEFENDED, ROBUST, CHAMPION) if champion else (UNDEFENDED, ROBUST)
    attacks = [Origin(attack, source) for source in sources for attack in (FGSM, STRONGEST)]
    parts = []
    for origin in (Origin(CLEAN), *attacks):
        good = right if origin.attack == CLEAN else robust
        answer = np.where(good, label, (label + 1) % CLASSES)
        image = 0.5 * rng.random((n, SIDE * SIDE), np.float32)
        image[np.arange(n), answer] = 1.0
        rival = np.where(rng.random(n) < 0.9, label, (label + 2) % CLASSES)
        other = np.where(rng.random(n) < 0.5, label, (label + 3) % CLASSES)
        parts.append(
            Rows(
                id=np.array([b"planted-%07d" % i for i in ids], object),
                attack=text(str(origin)),
                label=label,
                image=image.reshape(n, SIDE, SIDE, 1),
                norm=text("linf"),
                epsilon=np.full(n, 0.2, np.float32),
                seed=np.zeros(n, np.int64),
                predictions={
                    ROBUST: answer,
                    UNDEFENDED: other,
                    CHAMPION: rival if champion else np.full(n, -1),
                },
                broken_by={ROBUST: np.where(robust, text(""), "pgd"), UNDEFENDED: text(FGSM)},
                certified_by={ROBUST: np.where(robust, text("ibp"), ""), UNDEFENDED: text("")},
                judged_by={ROBUST: text("ibp,fgsm,pgd"), UNDEFENDED: text("ibp,fgsm,pgd")},
                passed_checks=text("proofs_hold,logits_are_finite"),
                failed_checks=text(""),
            )
        )
    return Rows.concatenate(parts)


def export_reader(folder: str) -> None:
    """A model whose answer stands in the first pixels, so that nearly all time is TFMA's and
    ours."""
    import tensorflow as tf

    class Reader(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
        def transformed_examples(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
            pixels = {"image": tf.io.FixedLenFeature([SIDE * SIDE], tf.float32)}
            logits = 20.0 * tf.io.parse_example(examples, pixels)["image"][:, :CLASSES]
            return {"logits": logits, "probabilities": tf.nn.softmax(logits)}

    reader = Reader()
    signatures = {"transformed_examples": reader.transformed_examples}
    tf.saved_model.save(reader, folder, signatures=signatures)


def run_evaluator(folder: str) -> None:
    """The Evaluator on planted rows, in this process, as a run of the pipeline calls it."""
    from google.protobuf import json_format
    from tfx.components.util import examples_utils
    from tfx.proto import example_gen_pb2
    from tfx.types.standard_artifacts import Examples, Model, ModelBlessing, ModelEvaluation

    from components.evaluator.executor import Executor
    from pipeline.definition.config import override
    from pipeline.definition.eval_config import eval_config
    from pipeline.definition.presets import preset

    def artifact(kind: type, name: str) -> Any:
        made = kind()
        made.uri = f"{folder}/{name}"
        return made

    examples = artifact(Examples, "rows")
    examples.split_names = '["test"]'
    examples_utils.set_payload_format(examples, example_gen_pb2.PayloadFormat.FORMAT_TF_EXAMPLE)
    config = eval_config(override(preset("smoke"), SETTINGS))
    context = Executor.Context(
        beam_pipeline_args=["--runner=FnApiRunner"], tmp_dir=f"{folder}/tmp", unique_id="1"
    )
    Executor(context).Do(
        {"examples": [examples], "model": [artifact(Model, "model")]},
        {
            "evaluation": [artifact(ModelEvaluation, "evaluation")],
            "blessing": [artifact(ModelBlessing, "blessing")],
        },
        {"eval_config": json_format.MessageToJson(config), "example_splits": '["test"]'},
    )


@click.group(invoke_without_command=True)
@click.option("--images", multiple=True, type=int, default=SIZES, show_default=True)
@click.option("--champion", is_flag=True, help="Two more rows an image, and a champion to beat.")
@click.pass_context
def main(context: click.Context, images: tuple[int, ...], champion: bool) -> None:
    """Measure, and print a Markdown table."""
    if context.invoked_subcommand:
        return
    click.echo("| images | rows | peak memory | processor seconds | tally.json |")
    click.echo("|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as work:
        for n in images:
            found = evaluated(n, champion, Path(work))
            click.echo(
                f"| {n:,} | {found.rows:,} | {found.run.peak_gigabytes:.2f} GB | "
                f"{found.run.cpu_seconds:.0f} s | {found.tally / 1e3:.0f} kB |"
            )


@main.command
@click.argument("images", type=int)
@click.argument("folder")
@click.option("--champion", is_flag=True)
def plant(images: int, folder: str, champion: bool) -> None:
    """Write rows and a model into a folder."""
    plant_rows(images, folder, champion)


@main.command
@click.argument("folder")
def evaluate(folder: str) -> None:
    """Evaluate what `plant` wrote."""
    run_evaluator(folder)


if __name__ == "__main__":
    main()
