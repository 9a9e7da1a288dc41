"""`gauntlet evaluate`: one model, attacked and certified on its own."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from foundation.errors import ProcessDied
from gauntlet.evaluation.task import DEFAULT_EPSILON, EvaluationTask
from gauntlet.file_defaults import file_option
from gauntlet.model_options import model_options
from gauntlet.options import console_beside, json_option, request, voice_options
from gauntlet.parameters import EPSILON, created
from pipeline.root.root import LOG

if TYPE_CHECKING:
    from rich.console import Console

    from gauntlet.evaluation.report import Report


@click.command
@model_options
@click.option(
    "--epsilon",
    "epsilons",
    type=EPSILON,
    multiple=True,
    metavar="E",
    help="Radius of the ball, pixels in [0, 1], such as 0.1 or 8/255; repeat it for the robustness "
    "curve. Default: "
    f"{', '.join(f'{epsilon} ({norm})' for norm, epsilon in DEFAULT_EPSILON.items())}.",
)
@click.option(
    "--corruptions", is_flag=True, help="Also report accuracy on the fifteen MNIST-C families."
)
@voice_options
@json_option("results.json")
@file_option
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
    from trainer.models.formats import model_file

    model_file(task.model)  # before seconds pass and folders are made
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
