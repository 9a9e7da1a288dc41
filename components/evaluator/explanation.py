"""Why a model was blessed or refused: gate by gate, in numbers and sentences.

The verdicts are TFMA's. What stands beside them (intervals, images that speak against the model) is
counted from the recorded rows.
"""

import dataclasses
import json
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_model_analysis as tfma

from components.evaluator.gate import Finding, Gate, Op, Quantity
from components.evaluator.metrics import FEATURES, GateMetric
from components.evaluator.table import Gathering, ImageTable, RowVerdict
from components.records.columns import CLEAN, NO_BOUND, PREDICTION
from components.records.shards import list_shards, read_shards

MEANING = {
    Quantity.ACCURACY: "are right {shown}",
    Quantity.WORST_CASE: "are right on the clean image and under every attack",
    Quantity.CERTIFIED: "are proven right, and right under every attack",
    Quantity.GAP: "are right on the clean image and broken by an attack",
    Quantity.WORST_CLASS: "of the worst class are right on the clean image and under every attack",
}
"""What is true of a share of the images."""


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """One gate after the evaluation.

    value: as counted. interval: exact 95 % of the value, or None. judged: by TFMA, what was
        compared with the bound.
    images_to_change: how many images would have to be answered otherwise; None where that is no
        question of images.
    ids: of the images that speak against the model, when it was refused.
    """

    name: str
    passed: bool
    value: float | None
    interval: tuple[float, float] | None
    judged: float | None
    op: str
    bound: float
    images_to_change: int | None
    ids: list[str]
    sentence: str


def gates_of(eval_config: Any) -> list[Gate]:
    """The gates that an EvalConfig holds, in their order: the inverse of
    `pipeline.definition.gates.eval_config`."""
    found = []
    for metric in eval_config.metrics_specs[0].metrics:
        if metric.class_name != GateMetric.__name__:
            continue
        settings, (judged,) = json.loads(metric.config), metric.per_slice_thresholds
        threshold = judged.threshold.value_threshold
        at_least = threshold.HasField("lower_bound")
        found.append(
            Gate(
                name=settings["name"],
                quantity=Quantity(settings["quantity"]),
                argument=tuple(settings["argument"]),
                op=Op.AT_LEAST if at_least else Op.AT_MOST,
                bound=(threshold.lower_bound if at_least else threshold.upper_bound).value,
            )
        )
    return found


def explain(
    gates: list[Gate], evaluation: str, rows: str, checks: dict[str, str]
) -> list[Explanation]:
    """All gates.

    Args:
        gates: as judged.
        evaluation: folder of TFMA's results.
        rows: folder of the rows that were evaluated.
        checks: sentence of each honesty check.
    """
    table = read_table(rows)
    metrics = dict(tfma.load_eval_result(evaluation).slicing_metrics)[()][""][""]
    validation = tfma.load_validation_result(evaluation)
    refused = {
        failure.metric_key.name
        for entry in validation.metric_validations_per_slice
        for failure in entry.failures
    }
    found = []
    for gate in gates:
        finding, passed = gate.judge(table), gate.name not in refused
        judged = number(metrics.get(gate.name, {}).get("doubleValue"))
        if (
            gate.quantity is Quantity.DISAGREEMENT
        ):  # the rows do not know what the served model answers
            finding = dataclasses.replace(finding, value=math.nan if judged is None else judged)
        found.append(
            Explanation(
                name=gate.name,
                passed=passed,
                value=number(finding.value),
                interval=finding.interval,
                judged=judged,
                op=str(gate.op),
                bound=gate.bound,
                images_to_change=None if passed else finding.images_to_change(gate),
                ids=[]
                if passed
                else [identity.decode() for identity in table.ids[finding.against]],
                sentence=sentence(gate, finding, table, checks),
            )
        )
    return found


def number(value: Any) -> float | None:
    """A value that JSON can hold."""
    return float(value) if value is not None and np.isfinite(float(value)) else None


def sentence(gate: Gate, finding: Finding, table: ImageTable, checks: dict[str, str]) -> str:
    """What was found, and what had to be."""
    match gate.quantity:
        case Quantity.MISSING:
            missing = sorted(set(gate.argument) - table.ran)
            return (
                f"The candidate did not face {', '.join(missing)}."
                if missing
                else "All that is required ran."
            )
        case Quantity.FAILED_CHECK:
            (check,) = gate.argument
            return checks.get(
                check, "It does not apply to this model." if checks else "No honesty check ran."
            )
        case Quantity.DISAGREEMENT:
            return (
                "The served model answers otherwise than the attacked one did on "
                f"{finding.value:.2%} of {table.rows:,} rows, which must be {gate.op} "
                f"{gate.bound:.2%}."
            )
        case Quantity.NO_WORSE:
            return no_worse_sentence(gate, finding, table)
    if finding.interval is None:
        return "Nothing was measured."
    low, high = finding.interval
    shown = (
        "without an attack" if gate.argument == (CLEAN,) else f"under {', '.join(gate.argument)}"
    )
    meaning = MEANING[gate.quantity].format(shown=shown)
    end = "lower" if gate.op is Op.AT_LEAST else "upper"
    return (
        f"{finding.value:.2%} of {len(table.ids):,} images (95 % interval {low:.2%} to {high:.2%}) "
        f"{meaning}; the {end} end must be {gate.op} {gate.bound:.2%}."
    )


def no_worse_sentence(gate: Gate, finding: Finding, table: ImageTable) -> str:
    """The comparison with the champion."""
    if not table.champion_right:
        return "There is no champion to compare with."
    where = "On clean images" if gate.argument == (CLEAN,) else "In the worst case"
    lost = len(finding.against)
    won = lost + round(finding.value * len(table.ids))
    return (
        f"{where}, the candidate is wrong on {lost:,} images on which the champion is right, and "
        f"right on {won:,} on which it is wrong; were it as good, it would lose so many with "
        f"probability {finding.judged:.2g}, which must be {gate.op} {gate.bound:g}."
    )


def read_table(folder: str) -> ImageTable:
    """The table of recorded rows, with the answers of the model that was attacked."""
    integers = [name for name in FEATURES if name.startswith(PREDICTION)]
    spec = {name: tf.io.FixedLenFeature([], tf.int64) for name in (*integers, "label")}
    spec |= {
        name: tf.io.FixedLenFeature([], tf.string) for name in FEATURES if name not in integers
    }
    gathering = Gathering()
    for batch in read_shards(list_shards(folder)).batch(2000):
        parsed = {
            name: column.numpy().tolist()
            for name, column in tf.io.parse_example(batch, spec).items()
        }
        columns = (parsed[name] for name in FEATURES)
        for label, (id_, attack, recorded, champion, certified_by, ran, passed, failed) in zip(
            parsed["label"], zip(*columns, strict=True), strict=True
        ):
            gathering.add(
                RowVerdict(
                    id=id_,
                    attack=attack.decode(),
                    label=label,
                    right=recorded == label,
                    agrees=True,
                    champion=champion,
                    certified=certified_by not in (b"", NO_BOUND.encode()),
                    ran=ran.decode(),
                    passed=passed.decode(),
                    failed=failed.decode(),
                )
            )
    return gathering.table()
