"""The benchmark's second part: attacks beside those of the peers, a whole evaluation, and the
bounds.

All of it on the reference model `mtl_ibp`, L-infinity, epsilon 0.3, MNIST's test images.
"""

import json
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
import tf_keras
from measurement import GAUNTLET, Measurement, measure, target_table
from peers import Run, art_pgd, foolbox_pgd
from reference_models import FOLDER

from components.datasets.batches import Batch, image_batches
from components.datasets.prepare import prepare
from foundation.seeds import image_seeds
from robustness.attacks.attacker import Attacker
from robustness.bounds.certifier import Certifier, proven
from robustness.config import BoundName, Pgd, ThreatModel

MODEL = FOLDER / "mtl_ibp"
THREAT = ThreatModel(epsilon=0.3)
PGD = Pgd(steps=40)
BATCH = 500
CROWN_IMAGES = 250


@dataclass(frozen=True, kw_only=True)
class Evaluated:
    """One `gauntlet evaluate`: of how many images, the seconds it reports itself, and the command's
    own."""

    images: int
    seconds: float
    command: Measurement


@dataclass(frozen=True, kw_only=True)
class Speeds:
    """PGD, images x steps per second of each run: the first test images, and as many that cannot be
    broken."""

    first: dict[str, list[float]]
    unbreakable: dict[str, list[float]]


def reference_model(work: Path) -> tf_keras.Model:
    """The model, trained where it is missing."""
    if not (MODEL / "saved_model.pb").exists():
        click.echo(f"training {MODEL.name}")
        measure(
            [sys.executable, str(Path(__file__).parent / "reference_models.py"), MODEL.name],
            work / "train.log",
        )
    return tf_keras.models.load_model(MODEL, compile=False)


def pgd_speeds(model: tf_keras.Model, certifier: Certifier, test: Batch, runs: int) -> Speeds:
    """Ours, Foolbox's and ART's PGD in turn."""
    x, y = test.x[:2000], test.y[:2000]
    certain = np.flatnonzero(proven(certifier.tighten(BoundName.IBP, x, y)))[:BATCH]
    if len(certain) < BATCH:
        raise click.ClickException(
            f"{MODEL}: expected {BATCH} proven images among 2,000, got {len(certain)}"
        )
    attacker, seeds = Attacker(model, THREAT), image_seeds(test.ids[:BATCH], 0)
    attacks: dict[str, Run] = {
        "Gauntlet": lambda x, y: attacker.run(PGD, x, y, seeds),
        "Foolbox": foolbox_pgd(model, THREAT, PGD),
        "ART": art_pgd(model, THREAT, PGD),
    }
    return Speeds(
        first=in_turn(attacks, x[:BATCH], y[:BATCH], runs),
        unbreakable=in_turn(attacks, x[certain], y[certain], runs),
    )


def in_turn(
    attacks: dict[str, Run], x: np.ndarray, y: np.ndarray, runs: int
) -> dict[str, list[float]]:
    """Images x steps per second of each attack; the first round is a warm-up."""
    speeds: dict[str, list[float]] = {name: [] for name in attacks}
    for i in range(runs + 1):
        click.echo(f"PGD, round {i} of {runs}")
        for name, attack in attacks.items():
            speeds[name].append(len(x) * PGD.steps / seconds_of(lambda attack=attack: attack(x, y)))
    return {name: values[1:] for name, values in speeds.items()}


def seconds_of(call: Callable[[], object]) -> float:
    begin = time.monotonic()
    call()
    return time.monotonic() - begin


def certification(certifier: Certifier, test: Batch) -> tuple[float, float]:
    """Seconds of the interval bounds of all images; images per second of CROWN on all margins of
    each."""
    chunks = [slice(i, i + BATCH) for i in range(0, len(test.y), BATCH)]
    interval = seconds_of(
        lambda: [certifier.tighten(BoundName.IBP, test.x[c], test.y[c]) for c in chunks]
    )
    x, y = test.x[:CROWN_IMAGES], test.y[:CROWN_IMAGES]
    nothing = np.full_like(certifier.tighten(BoundName.IBP, x, y), -np.inf)
    nothing[np.arange(len(y)), y] = np.inf  # no margin of a class with itself
    certifier.tighten(BoundName.CROWN, x[:1], y[:1], nothing[:1])  # compiles
    crown = seconds_of(lambda: certifier.tighten(BoundName.CROWN, x, y, nothing))
    return interval, len(x) / crown


def evaluation(images: int, work: Path) -> Evaluated:
    """`gauntlet evaluate` into an empty folder."""
    click.echo(f"gauntlet evaluate, {images} images")
    results = work / f"results-{images}.json"
    command = [GAUNTLET, "evaluate", str(MODEL), "--epsilon", str(THREAT.epsilon), "--no-checks"]
    command += [
        "--limit",
        str(images),
        "--output",
        str(work / f"evaluation-{images}"),
        "--json",
        str(results),
    ]
    measured = measure(command, work / f"evaluation-{images}.log")
    seconds = json.loads(results.read_text())["results"][0]["seconds"]
    return Evaluated(images=images, seconds=seconds, command=measured)


def robustness_section(runs: int, images: int, work: Path, written: str) -> str:
    """Measure; the section in Markdown. `written` says when, where and how often."""
    model = reference_model(work)
    certifier = Certifier(model, model.input_shape[1:], THREAT.epsilon)
    test = next(image_batches(prepare("mnist", None), "test", 10_000, max(images, 2000)))
    speeds = pgd_speeds(model, certifier, test, runs)
    interval, crown = certification(certifier, test)
    evaluations = [evaluation(n, work) for n in (images // 10, images * 3 // 10, images)]
    return report(speeds, evaluations, interval, crown, len(test.y), written)


def report(
    speeds: Speeds,
    evaluations: list[Evaluated],
    interval: float,
    crown: float,
    certified: int,
    written: str,
) -> str:
    """The tables in Markdown."""
    small, middle, whole = evaluations
    used, unbroken = ratio(speeds.first), ratio(speeds.unbreakable)
    slope = seconds_per_image(middle, whole) / seconds_per_image(small, middle)
    growth = whole.command.peak_gigabytes / small.command.peak_gigabytes
    table = target_table(
        [
            (
                "PGD, 40 steps, as it is used: ours / faster peer",
                f"{used:.2f}",
                "at least 2.0",
                used >= 2,
            ),
            (
                "the same on images that cannot be broken",
                f"{unbroken:.2f}",
                "at least 2.0",
                unbroken >= 2,
            ),
            (
                f"evaluation of {whole.images:,} images",
                f"{whole.seconds:.0f} s",
                "under 180 s",
                whole.seconds < 180,
            ),
            ("the whole command", f"{whole.command.seconds:.0f} s", "", True),
            (
                f"interval bounds of {certified:,} images",
                f"{interval:.1f} s",
                "under 10 s",
                interval < 10,
            ),
            ("CROWN, all nine margins, images per second", f"{crown:.0f}", "", True),
            (
                f"seconds of each further image, {middle.images:,} to {whole.images:,} / "
                f"{small.images:,} to {middle.images:,}",
                f"{slope:.2f}",
                "at most 1.2",
                slope <= 1.2,
            ),
            (
                f"peak memory, {whole.images:,} images / {small.images:,}",
                f"{growth:.2f}",
                "at most 1.2",
                growth <= 1.2,
            ),
        ]
    )
    median = statistics.median
    rows = "\n".join(
        f"| {name} | {median(values):,.0f} | {median(speeds.unbreakable[name]):,.0f} |"
        for name, values in speeds.first.items()
    )
    grown = "\n".join(
        f"| {e.images:,} | {e.seconds:.1f} | {e.command.seconds:.1f} | "
        f"{e.command.peak_gigabytes:.2f} |"
        for e in evaluations
    )
    return f"""## Robustness

{written}. All on the model that `python scripts/reference_models.py mtl_ibp`
trains, L-infinity, epsilon {THREAT.epsilon}, MNIST's test images, seed 0.
`make bench ARGS=--only=robustness` measures this section alone. Ratios are medians of the ratios
run by run, so they may differ from the quotient of two medians.

{table}

### PGD beside its peers

PGD with {PGD.steps} steps on a batch of {BATCH} images, images x steps per second (medians); the
sides ran in turn. Ours stops where an image is broken; so the second column has images that the
interval bounds prove, which all take every step.

| library | the first images | images that cannot be broken |
|---|---|---|
{rows}

### As the number of images grows

`gauntlet evaluate data/models/mtl_ibp --epsilon {THREAT.epsilon} --no-checks --limit N`, the suite
`fast`, into an empty folder. The first column of seconds is what the results say, without starting
and reading the model; memory is that of the largest process.

| images | seconds | seconds of the command | peak memory, GB |
|---|---|---|---|
{grown}
"""


def seconds_per_image(less: Evaluated, more: Evaluated) -> float:
    """What each further image costs."""
    return (more.seconds - less.seconds) / (more.images - less.images)


def ratio(speeds: dict[str, list[float]]) -> float:
    """Ours against the faster peer, run by run; the median."""
    ours, *theirs = speeds.values()
    return statistics.median(a / max(others) for a, *others in zip(ours, *theirs, strict=True))
