"""The published schemas are current, and hold of what commands write."""

import ast
import importlib
import json
from pathlib import Path
from typing import Any

import json_schemas
import pytest
from click.testing import CliRunner
from json_schema import problems
from json_schemas import BEGIN, DOCS, described, documents, file_of, page, schema_of
from judged_model import JUDGED
from past_runs import FIRST, SECOND, found_on, gate, summary_of, write_past_run

from components.changes import Signature
from gauntlet.cli import main
from gauntlet.documents import Predictions, Prepared
from gauntlet.evaluation.chance import Chance
from gauntlet.evaluation.report import Report, Result
from pipeline.production.answers import Answer, Answers
from pipeline.report.run_summary import Outcome, Training, Trial, Tuning
from robustness.config import Check, CheckName, Norm

ROOT = Path(__file__).parents[2]
CURRENT = "run `python scripts/json_schemas.py`"


@pytest.mark.parametrize("name", documents())
def test_the_schema_of_every_document_is_published(name: str) -> None:
    published = json.loads((DOCS / "schemas" / file_of(name)).read_text())
    assert published == schema_of(documents()[name]), CURRENT


def test_no_schema_is_published_of_what_is_gone() -> None:
    files = {path.name for path in (DOCS / "schemas").iterdir()}
    assert files == set(map(file_of, documents())), CURRENT


def test_the_page_is_current_and_names_every_document() -> None:
    by_hand, _, generated = (DOCS / "json.md").read_text().partition(BEGIN)
    assert generated.strip() == page().strip(), CURRENT
    assert all(f"`{name}`" in by_hand for name in documents())


def test_no_document_is_forgotten() -> None:
    """Those that a module of ours declares are those of which the script knows."""
    declared = set()
    for folder in ("components", "gauntlet", "pipeline", "robustness", "trainer"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                given = node.keywords if isinstance(node, ast.ClassDef) else []
                declared |= {
                    f"gauntlet/{each.value.value}"
                    for each in given
                    if each.arg == "schema" and isinstance(each.value, ast.Constant)
                }
    assert declared == set(documents())


def test_fields_are_described_by_the_docstring() -> None:
    text = """A run. it is no field: of these.

    one, two: what they
        mean; three: None where not. four.
    """
    assert described(text, ["one", "two", "three", "four"]) == (
        "A run. it is no field: of these.",
        {"one": "what they mean", "two": "what they mean", "three": "null where not. four"},
    )


def holds(text: str, schema: str) -> None:
    content = json.loads(text)
    published = json.loads((DOCS / "schemas" / file_of(schema)).read_text())
    assert content["schema"] == schema
    assert [*problems(content, published, published)] == []


FOUND = found_on({0: "clean", 1: "pgd"})
TRIAL = Trial(
    trial="0", values={"recipe.beta": 6.0}, score=float("nan"), clean=0.9, adversarial=0.8,
    certified=None, chosen=True, front=False,
)  # fmt: skip
WHOLE = summary_of(
    FOUND,
    judged=JUDGED,
    training={"robust": Training(epochs=[{"loss": float("nan")}], best_epoch=1)},
    checks=[Check(name=CheckName.PROOFS_HOLD, passed=None, value=None, sentence="Yes.")],
    withdrawn=Signature(by="ada", at="now", reason="why"),
    tuning=Tuning(clean_floor=0.5, trials=[TRIAL]),
)


@pytest.mark.parametrize("summary", [summary_of(FOUND), WHOLE], ids=["small", "whole"])
def test_a_summary_is_as_its_schema_says(summary: Any) -> None:
    holds(summary.to_json(), "gauntlet/run/1")
    holds(Outcome(pushed=None, summary=summary, problems=["x"]).to_json(), "gauntlet/outcome/1")


def test_an_evaluation_is_as_its_schema_says() -> None:
    result = Result(
        norm=Norm.LINF, epsilon=0.1, examples=9, seed=0, clean=0.9, worst_case=0.5,
        attacks={"pgd": 0.5}, efforts={"pgd": {"steps": 7}}, certified=None, certified_by={},
        not_certified="no rule", seconds_by={"pgd": 1.0}, checks=tuple(WHOLE.checks), seconds=2.0,
        examples_file=Path("e"),
    )  # fmt: skip
    report = Report(
        model=Path("m"), judged=JUDGED, sample=Chance(right=0.9, chance=0.1, images=9),
        fingerprint="f", trust=False, sandbox=None, dataset="mnist", split="test", suite="fast",
        notes=("n",), results=(result,), corruptions={"fog": 0.5}, folder=Path("f"),
    )  # fmt: skip
    holds(report.to_json(), "gauntlet/evaluate/1")


def test_answers_and_prepared_data_are_as_their_schemas_say() -> None:
    prepared = importlib.import_module("components.datasets.prepared").PreparedDataset
    data = prepared(name="mnist", version="1", directory="d", splits={"test": 1}, fingerprint="f")
    document = Prepared(prepared=data, settings={"data.dataset": "mnist"})
    holds(document.to_json(), "gauntlet/prepare/1")
    answers = (Answer(label=1, name=None, probability=0.5),)
    found = Answers(version="7", images=(Path("a.png"),), answers=answers)
    holds(Predictions.of(found).to_json(), "gauntlet/predict/1")


@pytest.mark.parametrize(
    ("arguments", "schema"),
    [
        (["gates", "--preset", "smoke"], "gates"),
        (["runs", "--root", "ROOT"], "runs"),
        (["show", "--root", "ROOT"], "run"),
        (["show", "--gate", "none", "--root", "ROOT"], "gate"),
        (["compare", FIRST, SECOND, "--root", "ROOT"], "compare"),
        (["models", "--root", "ROOT"], "models"),
        (["models", "--journal", "--root", "ROOT"], "journal"),
    ],
    ids=lambda value: " ".join(value[:2]) if isinstance(value, list) else value,
)
def test_what_a_command_writes_is_as_its_schema_says(
    arguments: list[str], schema: str, tmp_path: Path
) -> None:
    none = gate("none", True, images_against=0, ids=[])
    write_past_run(tmp_path, summary_of(FOUND), FOUND)
    write_past_run(tmp_path, summary_of(FOUND, SECOND, gates=[none]), FOUND, seed=1)
    given = [str(tmp_path) if each == "ROOT" else each for each in arguments]
    done = CliRunner().invoke(main, [*given, "--json", str(tmp_path / "out.json")])
    assert done.exit_code == 0, done.output
    holds((tmp_path / "out.json").read_text(), f"gauntlet/{schema}/1")


def test_the_script_writes_what_is_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "json.md").write_text(f"By hand.\n\n{BEGIN}\nold")
    monkeypatch.setattr(json_schemas, "DOCS", tmp_path)
    json_schemas.main()
    assert (tmp_path / "json.md").read_text() == f"By hand.\n\n{BEGIN}\n\n{page()}"
    for name in documents():
        written = (tmp_path / "schemas" / file_of(name)).read_text()
        assert written == (DOCS / "schemas" / file_of(name)).read_text(), CURRENT
