"""`gauntlet evaluate`: one model, attacked and certified on its own."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from foundation.errors import ProcessDied
from gauntlet.evaluation.task import DEFAULT_EPSILON, EvaluationTask
from gauntlet.options import DEFAULT_ROOT, console_beside, json_option, request, voice_options
from gauntlet.parameters import LOCAL_PATH, NAMES, PLAIN_FOLDER, SIZE, Choices, ListOf, created
from pipeline.root.root import LOG, Root
from robustness.config import AttackName, Norm
from robustness.suites import SuiteName
from trainer.models.pixels import Pixels

if TYPE_CHECKING:
    from rich.console import Console

    from gauntlet.evaluation.report import Report


@click.command
@click.argument("model", type=LOCAL_PATH)
@click.option(
    "--suite",
    type=Choices(SuiteName),
    default=SuiteName.FAST.value,
    show_default=True,
    help="fast: bounds and quick attacks, minutes. autoattack: the published standard suite, full "
    "strength.",
)
@click.option(
    "--attacks",
    type=ListOf("attack", AttackName),
    metavar="A,B",
    default=(),
    help=f"These attacks in place of the suite's own, in this order: {', '.join(AttackName)}.",
)
@click.option(
    "--norm",
    type=Choices(Norm),
    default=Norm.LINF.value,
    show_default=True,
    help="How the size of a perturbation is measured over all pixels of an image.",
)
@click.option(
    "--epsilon",
    "epsilons",
    type=float,
    multiple=True,
    metavar="E",
    help="Radius of the ball, pixels in [0, 1]; repeat it for the robustness curve. Default: "
    f"{', '.join(f'{epsilon} ({norm})' for norm, epsilon in DEFAULT_EPSILON.items())}.",
)
@click.option("--limit", type=click.IntRange(min=1), help="Only the first N images. Default: all.")
@click.option(
    "--split", default="test", show_default=True, help="A tfds split, or a part such as test[:500]."
)
@click.option(
    "--dataset",
    default="mnist",
    show_default=True,
    help="A tfds data set of labelled images, or a folder of images such as ./pets.",
)
@click.option(
    "--resize",
    type=SIZE,
    metavar="H,W",
    help="Bring the images of a folder to this height and width, as `gauntlet prepare` does.",
)
@click.option("--data-dir", type=PLAIN_FOLDER, help="As for `gauntlet run`.")
@click.option(
    "--seed",
    type=click.IntRange(0, 2**32 - 1),
    default=0,
    show_default=True,
    help="Seed of the attacks.",
)
@click.option(
    "--transfer-from",
    "sources",
    type=LOCAL_PATH,
    multiple=True,
    metavar="MODEL",
    help="Another model; attacks against it are tried on this one too. Repeatable.",
)
@click.option(
    "--signature",
    default="",
    metavar="NAME[:OUTPUT]",
    help="Signature of a SavedModel, and the output that holds the logits; :OUTPUT where the "
    "format has no signatures. Default: serving_default, and there logits.",
)
@click.option(
    "--pixels",
    type=Choices(Pixels),
    default=Pixels.UNIT.value,
    show_default=True,
    help="What the model takes for black and white. Epsilon stays in [0, 1].",
)
@click.option(
    "--classes",
    type=NAMES,
    metavar="A,B",
    default=(),
    help="Names of the model's classes in the order of its outputs, where it is not the data's.",
)
@click.option(
    "--batch",
    type=click.IntRange(min=1),
    help="Images that are attacked at once. Default: what fits into 1 GB.",
)
@click.option(
    "--trust",
    is_flag=True,
    help="Run code that lies in the model's file (Lambda layers, custom classes, operations that "
    "do more than compute and keep nothing), in the sandbox all the same.",
)
@click.option(
    "--checks/--no-checks",
    default=True,
    show_default=True,
    help="Look for signs that a number is fake.",
)
@click.option(
    "--corruptions", is_flag=True, help="Also report accuracy on the fifteen MNIST-C families."
)
@click.option(
    "--output",
    type=LOCAL_PATH,
    default=str(Root(Path(DEFAULT_ROOT)).evaluations),
    show_default=True,
    help="Folder of verdicts on every image, curves and results. An interrupted evaluation goes on "
    "from there.",
)
@voice_options
@json_option("results.json")
@request(EvaluationTask)
def evaluate(task: EvaluationTask, json_file: Path | None) -> None:
    """Attack and certify MODEL: clean, worst-case and certified accuracy, with honesty checks.

    MODEL is a SavedModel folder, a folder of numbered versions (the newest is taken), or a .keras,
    .h5 or .onnx file. What was judged, and how, is said first.

    \b
      gauntlet evaluate runs/serving
      gauntlet evaluate my_model.keras --epsilon 0.1 --epsilon 0.2 --epsilon 0.3
      gauntlet evaluate runs/serving --suite autoattack --json results.json

    Every image is proven, broken, or left open: the true robust accuracy lies between certified and
    worst case.
    """
    from foundation.whole import write_text
    from gauntlet.tables.evaluation import print_evaluation
    from gauntlet.voice import say

    created(task.output, "output")
    console = console_beside(json_file)
    say(console, f"evaluating {task.model}")
    report = evaluated(task, console)
    if json_file:
        write_text(json_file, report.to_json())
    print_evaluation(report, console)


def evaluated(task: EvaluationTask, console: "Console") -> "Report":
    """The data prepared in one process, the model asked in another one, which is confined: a model
    is a program.

    Raises:
        ProcessDied: a process did; the message names the model.
    """
    from foundation.sandbox import Sandbox
    from gauntlet.evaluation.data import Order
    from gauntlet.supervisor import call
    from gauntlet.work import call_with

    log = task.output / LOG
    prepared = call("gauntlet.evaluation.data:prepared_data", task, log, console)
    order, sandbox = Order(task, prepared), Sandbox((task.output,))
    try:
        report: Report = call_with(
            "TensorFlow", "gauntlet.evaluation.evaluator:evaluate_on", order, log, console, sandbox
        )
    except ProcessDied as error:
        smaller = max(1, (task.batch or 16) // 2)
        raise ProcessDied(
            f"{task.model}: {error}. The model may be damaged, or made to do that. If the memory "
            f"did not suffice, give it fewer images at once, such as --batch {smaller}; the same "
            "command goes on with what was judged already"
        ) from error
    return report
