"""`summary.json`: the keys that users read, and valid JSON."""

import dataclasses
import json
import math
import subprocess
import sys

import pytest
from judged_model import JUDGED

from components.changes import Signature
from components.evaluator.explained import Explanation
from pipeline.report.run_summary import (
    Accuracies,
    NodeRun,
    RunSummary,
    Training,
    Trial,
    Tuning,
)
from robustness.config import Check, CheckName, Norm, ThreatModel

KEYS = {
    "schema", "run_id", "preset", "dataset", "fingerprint", "test_fingerprint", "class_names",
    "judged", "seed", "threat", "suite", "attacks", "examples",
    "models", "training", "checks", "gates", "serving_problems", "blessed", "pushed", "nodes",
    "caveats", "seconds", "withdrawn", "forced",
}  # fmt: skip
KEYS_OF_A_MODEL = {
    "clean", "transfer", "white_box", "worst_case", "certified", "certified_by",
}  # fmt: skip
KEYS_OF_A_GATE = {
    "name", "passed", "value", "interval", "judged", "op", "bound", "images_to_change", "ids",
    "sentence",
}  # fmt: skip

GATE = Explanation(
    name="clean", passed=False, value=None, interval=(0.1, 0.2), judged=0.1, op=">=", bound=0.5,
    images_to_change=3, images_against=4, ids=["a"], sentence="What was found.",
)  # fmt: skip
SHARES = Accuracies(
    clean=0.9, transfer={"fgsm": 0.8}, white_box={"pgd": 0.7}, worst_case=0.6, certified=None,
    certified_by={},
)  # fmt: skip
SUMMARY = RunSummary(
    run_id="r", preset="smoke", dataset="mnist", judged=JUDGED,
        class_names=["a"], seed=1,
    threat=ThreatModel(norm=Norm.L2, epsilon=0.5), suite="fast",
    attacks={"pgd": {"steps": 20, "restarts": 1}}, examples={"test": 7},
    models={"robust": SHARES},
    training={"robust": Training(epochs=[{"loss": math.nan}], best_epoch=1)},
    checks=[Check(name=CheckName.PROOFS_HOLD, passed=True, value=math.inf, sentence="Yes.")],
    gates=[GATE], serving_problems=[], blessed=False, withdrawn=None, forced=None, pushed=None,
    nodes={"Pusher": NodeRun(seconds=1.5, cached=True)}, tuning=None, caveats=[], seconds=2.5,
)  # fmt: skip


def refuse(constant: str) -> None:
    raise AssertionError(f"{constant} is no JSON")


def test_the_keys_are_those_that_earlier_versions_wrote() -> None:
    content = json.loads(SUMMARY.to_json(), parse_constant=refuse)
    assert set(content) == KEYS
    assert content["threat"] == {"norm": "l2", "epsilon": 0.5}
    assert set(content["models"]["robust"]) == KEYS_OF_A_MODEL
    assert content["training"] == {"robust": {"epochs": [{"loss": None}], "best_epoch": 1}}
    assert content["checks"] == [
        {"name": "proofs_hold", "passed": True, "value": None, "sentence": "Yes."}
    ]
    assert content["nodes"] == {"Pusher": {"seconds": 1.5, "cached": True}}
    assert set(content["gates"][0]) >= KEYS_OF_A_GATE


def test_a_search_and_a_withdrawal_are_written_where_there_are_some() -> None:
    trial = Trial(
        trial="0", values={"recipe.beta": 6.0}, score=1.0, clean=0.9, adversarial=0.8,
        certified=None, chosen=True, front=False,
    )  # fmt: skip
    signature = Signature(by="ada", at="now", reason="why")
    tuning = Tuning(clean_floor=0.5, trials=[trial])
    summary = dataclasses.replace(SUMMARY, tuning=tuning, withdrawn=signature)
    content = json.loads(summary.to_json())
    assert content["tuning"] == {"clean_floor": 0.5, "trials": [dataclasses.asdict(trial)]}
    assert content["withdrawn"] == {"by": "ada", "at": "now", "reason": "why"}


def test_what_was_written_is_read_back() -> None:
    text = SUMMARY.to_json()
    read = RunSummary.from_json(text)
    assert read.to_json() == text
    assert (read.gates, read.attacks, read.judged) == (SUMMARY.gates, SUMMARY.attacks, JUDGED)
    assert math.isnan(read.training["robust"].epochs[0]["loss"])


def test_a_summary_of_0_1_0_is_read() -> None:
    """What was added since has a default, also in the gates."""
    content = json.loads(SUMMARY.to_json())
    added = "schema fingerprint test_fingerprint class_names judged withdrawn forced"
    for name in added.split():
        del content[name]
    for name in ("images_against", "not_compared"):
        del content["gates"][0][name]
    read = RunSummary.from_json(json.dumps(content))
    assert (read.class_names, read.judged, read.withdrawn) == ([], None, None)
    assert (read.gates[0].images_against, read.run_id) == (None, "r")


@pytest.mark.parametrize(
    ("pushed", "version"), [("/r/serving/17", "17"), (None, None)], ids=["pushed", "refused"]
)
def test_the_version_is_the_folder_that_was_pushed(pushed: str | None, version: str | None) -> None:
    assert dataclasses.replace(SUMMARY, pushed=pushed).version == version


def test_the_command_line_reads_it_without_heavy_libraries() -> None:
    code = (
        "import sys, pipeline.report.run_summary\n"
        "print(*[m for m in ('tensorflow', 'tfx', 'numpy', 'scipy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
