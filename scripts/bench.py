"""`make bench`: measures the project against its peers and writes BENCHMARKS.md.

    python scripts/bench.py [--runs 3] [--only pipeline|training|robustness|gates] [--output
    BENCHMARKS.md]

Everything is measured in one call on one machine, the sides of a comparison in turn. Published are
medians, and ratios taken run by run.
"""

import datetime
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import click
from bench_gates import gates_section
from bench_robustness import robustness_section
from bench_training import training_section
from measurement import GAUNTLET, Measurement, measure, target_table

HERE = Path(__file__).parent
PARTS = {
    "pipeline": "# Benchmarks",
    "training": "## Training",
    "robustness": "## Robustness",
    "gates": "## Gates",
}
"""The parts of the report, in their order, and the heading with which each begins."""


def whole_job(
    runs: int, work: Path
) -> tuple[list[Measurement], list[Measurement], dict[str, float]]:
    """The `tutorial` preset and the plain script in turn; and the median seconds of each node."""
    pipeline, plain, nodes = [], [], []
    for i in range(runs):
        summary = work / f"summary-{i}.json"
        job = [
            GAUNTLET,
            "run",
            "--preset",
            "tutorial",
            "--root",
            str(work / f"root-{i}"),
            "--json",
            str(summary),
        ]
        click.echo(f"run {i + 1} of {runs}: the tutorial preset")
        pipeline.append(measure(job, work / f"pipeline-{i}.log"))
        nodes.append({n: v["seconds"] for n, v in json.loads(summary.read_text())["nodes"].items()})
        click.echo(f"run {i + 1} of {runs}: the plain script")
        plain.append(
            measure([sys.executable, str(HERE / "plain_tutorial.py")], work / f"plain-{i}.log")
        )
    return (
        pipeline,
        plain,
        {name: statistics.median(run[name] for run in nodes) for name in nodes[0]},
    )


def ingestion(runs: int, work: Path) -> tuple[list[float], list[float]]:
    """Seconds of TfdsExampleGen and of TFX's ImportExampleGen over the same 70,000 records, in
    turn."""
    from apache_beam.options.pipeline_options import StandardOptions
    from tfx.components.example_gen.import_example_gen.executor import Executor as ImportExecutor
    from tfx.proto import example_gen_pb2
    from tfx.types.standard_artifacts import Examples
    from tfx.utils import proto_utils

    from components.tfds_example_gen.component import TfdsExampleGen
    from pipeline.definition.presets import preset

    StandardOptions.DEFAULT_RUNNER = "FnApiRunner"
    data = preset("tutorial").data
    properties = {
        "dataset": data.dataset,
        "data_dir": "",
        "fingerprint": "",
        "splits": json.dumps(data.splits, allow_nan=False),
    }
    inputs = example_gen_pb2.Input(
        splits=[
            example_gen_pb2.Input.Split(name=name, pattern=f"Split-{name}/*")
            for name in data.splits
        ]
    )
    ours, theirs = [], []
    for i in range(runs + 1):  # the first is a warm-up
        click.echo(f"ingestion {i} of {runs}")
        made, imported = Examples(), Examples()
        made.uri, imported.uri = str(work / f"ours-{i}"), str(work / f"theirs-{i}")
        context = ImportExecutor.Context(beam_pipeline_args=[], tmp_dir=str(work), unique_id=str(i))
        executor = TfdsExampleGen.EXECUTOR_SPEC.executor_class(context)
        begin = time.monotonic()
        executor.Do({}, {"examples": [made]}, properties | {"shards": data.shards})
        middle = time.monotonic()
        exec_properties = {
            "input_base": made.uri,
            "input_config": proto_utils.proto_to_json(inputs),
            "output_config": proto_utils.proto_to_json(example_gen_pb2.Output()),
            "output_data_format": example_gen_pb2.FORMAT_TF_EXAMPLE,
            "output_file_format": example_gen_pb2.FORMAT_TFRECORDS_GZIP,
        }
        ImportExecutor(context).Do({}, {"examples": [imported]}, exec_properties)
        ours.append(middle - begin)
        theirs.append(time.monotonic() - middle)
    return ours[1:], theirs[1:]


def report(
    pipeline: list[Measurement],
    plain: list[Measurement],
    nodes: dict[str, float],
    ours: list[float],
    theirs: list[float],
) -> str:
    """The tables in Markdown."""
    median = statistics.median
    ratio = median(a.seconds / b.seconds for a, b in zip(pipeline, plain, strict=True))
    cpu_ratio = median(a.cpu_seconds / b.cpu_seconds for a, b in zip(pipeline, plain, strict=True))
    speed = median(b / a for a, b in zip(ours, theirs, strict=True))
    peak = max(m.peak_gigabytes for m in pipeline)
    examples = 70_000
    rows = [
        (
            "whole job, wall time: `tutorial` preset / plain script",
            f"{ratio:.2f}",
            "at most 1.2",
            ratio <= 1.2,
        ),
        ("whole job, CPU time: `tutorial` preset / plain script", f"{cpu_ratio:.2f}", "", True),
        (
            "ingestion, examples per second: TfdsExampleGen / ImportExampleGen",
            f"{speed:.2f}",
            "at least 1.0",
            speed >= 1,
        ),
        ("peak memory of the run, largest process", f"{peak:.2f} GB", "under 4 GB", peak < 4),
    ]
    every = "\n".join(
        f"| {i + 1} | {a.seconds:.0f} | {a.cpu_seconds:.0f} | {b.seconds:.0f} | "
        f"{b.cpu_seconds:.0f} |"
        for i, (a, b) in enumerate(zip(pipeline, plain, strict=True))
    )
    shares = "\n".join(
        f"| {name} | {seconds:.1f} |"
        for name, seconds in sorted(nodes.items(), key=lambda n: -n[1])
    )
    return f"""# Benchmarks

{written(len(pipeline))}, Python {platform.python_version()}.
Ratios are medians of the ratios run by run, so they may differ from the quotient of two medians.

{target_table(rows)}

## Whole job

The `tutorial` preset from an empty root, data already prepared, against
`scripts/plain_tutorial.py`: the same networks, epochs, batch and number of training images; the
script loads with tfds, trains both models, attacks the base model with FGSM and evaluates both. The
pipeline does more: it validates the data, attacks both models with FGSM, PGD-20 and APGD-CE (50
steps) between three bounds, checks the attack and every attacked image, evaluates by slice and
gate, tries the export as a server would, and pushes.

| run | preset, wall s | preset, CPU s | script, wall s | script, CPU s |
|---|---|---|---|---|
{every}

Where the preset's time goes, by node (median seconds; the rest is importing TFX, verifying data,
and the summary):

| node | seconds |
|---|---|
{shares}

## Ingestion

{examples:,} PNG images into gzipped TFRecords, three splits. ImportExampleGen reads what
TfdsExampleGen wrote.

| component | examples per second (median) |
|---|---|
| TfdsExampleGen | {examples / median(ours):,.0f} |
| ImportExampleGen | {examples / median(theirs):,.0f} |
"""


def written(runs: int) -> str:
    """When and where a part was measured."""
    machine = f"{platform.system()} on\n{os.cpu_count()} cores ({cpu_name()})"
    return (
        f"Written by `make bench` on {datetime.date.today()}: {runs} runs, sides in turn, {machine}"
    )


def cpu_name() -> str:
    """Model of the processor, where the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next(
        (line.partition(": ")[2] for line in lines if line.startswith("model name")),
        platform.machine(),
    )


def split_report(text: str) -> dict[str, str]:
    """The parts of a report, '' for those that it has not."""
    places = {name: text.find(heading + "\n") for name, heading in PARTS.items()}
    ends = sorted([*(place for place in places.values() if place >= 0), len(text)])
    return {
        n: text[place : ends[ends.index(place) + 1]] if place >= 0 else ""
        for n, place in places.items()
    }


@click.command()
@click.option("--runs", default=3, show_default=True, help="Counted runs of each side.")
@click.option(
    "--only", type=click.Choice(list(PARTS)), help="One part; the report keeps the others."
)
@click.option(
    "--images", default=10_000, show_default=True, help="Test images of the largest evaluation."
)
@click.option("--output", type=click.Path(path_type=Path), default=HERE.parent / "BENCHMARKS.md")
def main(runs: int, only: str | None, images: int, output: Path) -> None:
    """Measure and write the report."""
    parts = split_report(output.read_text() if output.exists() else "")
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        if only in (None, "pipeline"):
            ours, theirs = ingestion(runs, work)
            pipeline, plain, nodes = whole_job(runs, work)
            parts["pipeline"] = report(pipeline, plain, nodes, ours, theirs)
        if only in (None, "training"):
            parts["training"] = training_section(runs, written(runs))
        if only in (None, "robustness"):
            parts["robustness"] = robustness_section(runs, images, work, written(runs))
        if only in (None, "gates"):
            parts["gates"] = gates_section(runs, work, written(runs))
    output.write_text("\n\n".join(parts[name].strip() for name in PARTS if parts[name]) + "\n")
    click.echo(f"wrote {output}")


if __name__ == "__main__":
    main()
