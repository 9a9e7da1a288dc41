"""The stand-alone evaluator: reports, interruptions, mistakes, and the command around it."""

import csv
import dataclasses
import json
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from rich.console import Console
from small_classifier import EPSILON, some_images, trained_model
from small_data import prepare_small
from small_world import SHAPE

from components.policy import OPEN, GatesConfig, Purpose
from foundation.errors import ConfigError, DataError, ProcessDied
from foundation.sandbox import NOT_HERE
from gauntlet.commands.evaluate import evaluated
from gauntlet.evaluation import evaluator as evaluation
from gauntlet.evaluation.evaluator import run_evaluation
from gauntlet.evaluation.task import EvaluationTask
from robustness.config import CheckName, Norm
from robustness.evaluation import Judge, Verdict
from trainer.classes import CLASS_NAMES, file_of
from trainer.models.pixels import Pixels


@pytest.fixture(scope="module")
def model() -> tf_keras.Model:
    return trained_model()


@pytest.fixture(scope="module")
def batch() -> SimpleNamespace:
    return some_images()


@pytest.fixture(scope="module")
def prepared_data(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A prepared tfds data set of the small world's images; its folder."""
    return prepare_small(tmp_path_factory.mktemp("data"))


@pytest.fixture
def task(model: tf_keras.Model, prepared_data: str, tmp_path: Path) -> EvaluationTask:
    model.save(tmp_path / "model", save_format="tf", include_optimizer=False)
    return EvaluationTask(
        model=tmp_path / "model",
        output=tmp_path / "out",
        dataset="small",
        data_dir=Path(prepared_data),
        epsilons=(EPSILON,),
        attacks=("fgsm",),
        checks=False,
    )


def test_a_report_has_the_promised_keys_and_files(task: EvaluationTask) -> None:
    report = run_evaluation(
        dataclasses.replace(task, checks=True, epsilons=(EPSILON,), corruptions=False)
    )
    written = (report.folder / "results.json").read_text()
    assert written == report.to_json()
    keys = "schema model judged sample fingerprint trust sandbox dataset split suite notes results "
    keys += "corruptions folder"
    assert list(json.loads(written)) == keys.split()
    (entry,) = json.loads(written)["results"]
    keys = "norm epsilon examples seed clean attacks efforts worst_case certified certified_by "
    keys += "checks seconds seconds_by not_certified examples_file gates undone"
    assert set(keys.split()) == set(entry)
    assert entry["examples"] == 120
    assert 0 <= entry["certified"] <= entry["worst_case"] <= entry["clean"] <= 1
    assert {"name", "passed", "value", "sentence"} == set(entry["checks"][0])
    assert (report.folder / "curve.png").stat().st_size > 5_000
    rows = Path(entry["examples_file"]).read_text().splitlines()
    assert rows[0] == "id,label,label_name,prediction,prediction_name,broken_by,certified_by"
    assert len(rows) == 121
    broken = sum(not row.split(",")[5] for row in rows[1:]) / 120
    assert broken == pytest.approx(entry["worst_case"])


def test_an_interrupted_evaluation_goes_on(
    task: EvaluationTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped in its third batch, with one file half written: only what is missing is judged
    again."""
    monkeypatch.setattr(evaluation, "BATCH", 30)
    whole = run_evaluation(dataclasses.replace(task, output=tmp_path / "whole"))
    judged: list[int] = []
    original = Judge.judge

    def interrupted(self: Judge, x: Any, y: Any, ids: Any, seed: int) -> Verdict:
        judged.append(len(y))
        if len(judged) == 3:
            raise KeyboardInterrupt
        return original(self, x, y, ids, seed)

    monkeypatch.setattr(Judge, "judge", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_evaluation(task)
    kept = sorted(task.output.rglob("batch-*.npz"))
    assert len(kept) == 2
    kept[1].write_bytes(kept[1].read_bytes()[:100])
    judged.extend([0] * 5)  # no more interruptions
    again = run_evaluation(task)
    assert len(judged) - 5 - 3 == 3, "batches that were whole were judged again"
    for first, second in zip(whole.results, again.results, strict=True):
        assert (first.clean, first.attacks, first.certified_by) == (
            second.clean,
            second.attacks,
            second.certified_by,
        )


def test_another_seed_or_model_is_judged_anew(
    task: EvaluationTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_evaluation(task)
    monkeypatch.setattr(Judge, "judge", lambda *_: pytest.fail("judged again"))
    run_evaluation(task)
    with pytest.raises(pytest.fail.Exception):
        run_evaluation(dataclasses.replace(task, seed=1))


def test_kept_checks_of_other_settings_or_half_written_are_made_again(
    task: EvaluationTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = dataclasses.replace(task, checks=True)
    first = run_evaluation(task).results[0].checks
    (kept,) = task.output.rglob("checks-*.json")
    with monkeypatch.context() as patch:
        patch.setattr(evaluation, "run_checks", lambda _: pytest.fail("made again"))
        assert run_evaluation(task).results[0].checks == first
    for text in ("", "[]", kept.read_text().replace('"key": "', '"key": "0')):
        kept.write_text(text)
        assert run_evaluation(task).results[0].checks == first


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": Path("/nowhere")}, "/nowhere: there is no such file or folder"),
        ({"split": "tset"}, "unknown split 'tset' of small; the splits are test"),
        ({"split": "test[:0]"}, "the split 'test.:0.' of small is empty"),
        ({"split": "all[:5]"}, "unknown split 'all.:5.' of small"),
        ({"split": "test[:10]+test[4:12]"}, r"takes 6 images of small more than once; expected ea"),
        ({"split": "test[6:5]"}, r"split=test\[6:5\]: a part ends before it begins"),
        ({"corruptions": True}, "of 11 or more"),  # these images are too small
    ],
)
def test_mistakes_are_explained(task: EvaluationTask, change: dict[str, Any], message: str) -> None:
    with pytest.raises((DataError, ConfigError), match=message):
        run_evaluation(dataclasses.replace(task, **change))


def test_a_model_for_other_images_or_fewer_classes_is_refused(
    task: EvaluationTask, tmp_path: Path
) -> None:
    layers = tf_keras.layers
    for shape, classes, message in (
        ((9, 8, 1), 3, r"takes images of shape \(9, 8, 1\)"),
        (SHAPE, 2, "fewer classes than the data has: 3"),
    ):
        other = tf_keras.Sequential([layers.Input(shape), layers.Flatten(), layers.Dense(classes)])
        other.save(tmp_path / "other", save_format="tf")
        with pytest.raises(DataError, match=message):
            run_evaluation(dataclasses.replace(task, model=tmp_path / "other"))


def turned(model: tf_keras.Model, path: Path, names: tuple[str, ...] = ()) -> Path:
    """The model with its outputs in the order 2, 0, 1, as a SavedModel that may name them."""
    logits = tf_keras.layers.Dense(3, use_bias=False, name="turned")
    whole = tf_keras.Sequential([model, logits])
    whole.build((None, *SHAPE))
    logits.set_weights([np.eye(3, dtype=np.float32)[:, [2, 0, 1]]])
    whole.save(path, save_format="tf", include_optimizer=False)
    if names:
        (path / "assets").mkdir(exist_ok=True)
        (path / "assets" / CLASS_NAMES).write_bytes(file_of(names))
    return path


def test_outputs_in_another_order_are_matched_by_name(
    task: EvaluationTask, model: tf_keras.Model, tmp_path: Path
) -> None:
    """As the file names them, or as the user does; the same images are broken."""
    expected = run_evaluation(task)
    named = turned(model, tmp_path / "named", ("2", "0", "1"))
    by_user = dataclasses.replace(task, model=turned(model, tmp_path / "turned"))
    for report, by in (
        (run_evaluation(dataclasses.replace(task, model=named)), "the model"),
        (run_evaluation(dataclasses.replace(by_user, classes=("2", "0", "1"))), "--classes"),
    ):
        assert (report.judged.class_names, report.judged.named_by) == (("2", "0", "1"), by)
        assert report.notes == ()
        (entry,), (other,) = report.results, expected.results
        assert (entry.clean, entry.worst_case) == (other.clean, other.worst_case)
        mine, theirs = (list(csv.DictReader(each.examples_file.open())) for each in (entry, other))
        assert [row["prediction_name"] for row in mine] == [
            row["prediction_name"] for row in theirs
        ]
        assert [row["label_name"] for row in mine] == [row["label"] for row in theirs]
    unnamed = run_evaluation(by_user)
    assert unnamed.judged.named_by == "the data"
    assert any("its outputs stood in another order" in note for note in unnamed.notes)


def test_more_outputs_than_classes_are_doubted_where_nobody_names_them(
    task: EvaluationTask, model: tf_keras.Model, tmp_path: Path
) -> None:
    layers = tf_keras.layers
    whole = tf_keras.Sequential([model, layers.Dense(5, use_bias=True)])
    whole.build((None, *SHAPE))
    whole.layers[1].set_weights([np.eye(3, 5, dtype=np.float32), np.float32([0, 0, 0, -9, -9])])
    whole.save(tmp_path / "more.keras")
    more = dataclasses.replace(task, model=tmp_path / "more.keras")
    doubt = "The model has 5 outputs, the data 3 classes"
    assert any(doubt in note for note in run_evaluation(more).notes)
    named = run_evaluation(dataclasses.replace(more, classes=("0", "1", "2", "x", "y")))
    assert named.notes == ()


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("0", "1", "x"), "classes that the model does not know: 2; the model knows 0, 1, x"),
        (("0", "1"), "the model gives 3 classes, 2 are named: 0, 1"),
    ],
)
def test_names_that_do_not_fit_are_refused(
    task: EvaluationTask, names: tuple[str, ...], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        run_evaluation(dataclasses.replace(task, classes=names))


def test_attacks_are_not_transferred_between_orders_of_classes(
    task: EvaluationTask, model: tf_keras.Model, tmp_path: Path
) -> None:
    source = turned(model, tmp_path / "source", ("2", "0", "1"))
    with pytest.raises(DataError, match="another order than those of the model"):
        run_evaluation(dataclasses.replace(task, sources=(source,)))


def test_a_sound_source_in_the_same_other_order_is_not_doubted(
    task: EvaluationTask, model: tf_keras.Model, tmp_path: Path
) -> None:
    judged, source = (turned(model, tmp_path / name, ("2", "0", "1")) for name in ("a", "b"))
    assert run_evaluation(dataclasses.replace(task, model=judged, sources=(source,))).notes == ()


def test_a_source_that_sees_other_pixels_is_named(
    task: EvaluationTask, model: tf_keras.Model, tmp_path: Path
) -> None:
    bytes_model = tf_keras.Sequential([tf_keras.layers.Rescaling(1 / 255), model])
    bytes_model.build((None, *SHAPE))
    bytes_model.save(tmp_path / "bytes.keras")
    report = run_evaluation(dataclasses.replace(task, sources=(tmp_path / "bytes.keras",)))
    (note,) = report.notes
    assert "bytes.keras, whose attacks are transferred: " in note
    assert "--pixels 0:255" in note


@pytest.mark.parametrize(
    "change",
    [
        {"pixels": Pixels.SIGNED},
        {"signature": ":out"},
        {"classes": ("2", "0", "1")},
    ],
    ids=["pixels", "signature", "classes"],
)
def test_what_decides_the_numbers_has_a_folder_of_its_own(
    task: EvaluationTask, model: tf_keras.Model, tmp_path: Path, change: dict[str, Any]
) -> None:
    both = {"logits": model.output, "out": model.output}
    tf_keras.Model(model.input, both).save(tmp_path / "two.keras")
    task = dataclasses.replace(task, model=tmp_path / "two.keras")
    first, second = (run_evaluation(each) for each in (task, dataclasses.replace(task, **change)))
    assert first.results[0].examples_file != second.results[0].examples_file
    assert run_evaluation(task).results[0].examples_file == first.results[0].examples_file


def test_a_model_that_is_no_better_than_guessing_is_said_to_be(
    task: EvaluationTask, model: tf_keras.Model, tmp_path: Path
) -> None:
    """And its JSON is valid, whatever it answers."""
    weights = model.get_weights()
    broken = tf_keras.models.clone_model(model)
    broken.set_weights([np.full_like(each, np.nan) for each in weights])
    broken.save(tmp_path / "nan.keras")
    report = run_evaluation(dataclasses.replace(task, model=tmp_path / "nan.keras", checks=True))
    assert any("infinite or not a number for 120" in note for note in report.notes)
    json.loads(report.to_json(), parse_constant=lambda name: pytest.fail(f"{name} in JSON"))
    passed = {check.name for check in report.results[0].checks if check.passed}
    assert passed <= {"proofs_hold"}


def command(*arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    gauntlet = str(Path(sys.executable).parent / "gauntlet")
    return subprocess.run(
        [gauntlet, "evaluate", *map(str, arguments)], cwd=cwd, capture_output=True, text=True
    )


@pytest.mark.e2e
def test_the_command_from_start_to_end(task: EvaluationTask, tmp_path: Path) -> None:
    data = ["--dataset", "small", "--data-dir", task.data_dir]
    radii = ["--epsilon", "0.01", "--epsilon", "0.03"]
    done = command(
        task.model,
        *data,
        *radii,
        "--attacks",
        "fgsm,pgd",
        "--json",
        tmp_path / "r.json",
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "worst case" in done.stdout
    assert "certified" in done.stdout
    first, second = json.loads((tmp_path / "r.json").read_text())["results"]
    assert (first["epsilon"], second["epsilon"]) == (0.01, 0.03)
    assert first["worst_case"] > second["worst_case"]
    assert first["examples"] == 120


def with_code(path: Path, outside: Path, inside: Path) -> None:
    """A model with code in its file: it tries to write and to connect, and leaves a word on each
    attempt."""
    ending = {"outside": str(outside), "inside": str(inside)}

    def code(x: Any, outside: str, inside: str) -> Any:
        import pathlib
        import socket

        said = ""
        for attempt in (pathlib.Path(outside).touch, lambda: socket.socket().close()):
            try:
                attempt()
                said += "done "
            except PermissionError:
                said += "refused "
        pathlib.Path(inside).write_text(said)
        return x

    layers = tf_keras.layers
    image = layers.Input(SHAPE)
    changed = layers.Lambda(code, arguments=ending, output_shape=SHAPE)(image)
    tf_keras.Model(image, layers.Dense(3)(layers.Flatten()(changed))).save(path)
    assert inside.read_text() == "done done "
    outside.unlink()
    inside.unlink()


def with_operation(path: Path, outside: Path) -> None:
    """A model with an operation that writes a file."""
    module = tf.Module()

    @tf.function(input_signature=[tf.TensorSpec([None, *SHAPE], tf.float32)])
    def serve(x: tf.Tensor) -> dict[str, tf.Tensor]:
        tf.io.write_file(str(outside), "x")
        return {"logits": tf.reshape(x, [tf.shape(x)[0], -1])[:, :3]}

    tf.saved_model.save(module, str(path), {"serving_default": serve})


@pytest.mark.e2e
def test_a_model_that_is_trusted_stays_in_its_sandbox(task: EvaluationTask, tmp_path: Path) -> None:
    output, outside = tmp_path / "results", tmp_path / "outside"
    output.mkdir()
    options = ["--dataset", "small", "--data-dir", str(task.data_dir), "--limit", "20"]
    options += ["--no-checks", "--attacks", "fgsm", "--output", str(output), "--trust"]
    options += ["--json", str(tmp_path / "r.json")]
    with_code(tmp_path / "model.keras", outside, output / "said")
    done = command(tmp_path / "model.keras", *options, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads((tmp_path / "r.json").read_text())
    if NOT_HERE in str(report["sandbox"]):
        pytest.skip(f"this kernel confines nobody: {report['sandbox']}")
    assert (output / "said").read_text() == "refused refused "
    assert report["trust"]
    assert report["notes"][0].startswith("--trust: code in the model's file was allowed to run")
    assert report["sandbox"]["network"] == "shut off"
    assert report["sandbox"]["files"].startswith(f"written only below {output}")
    assert "sandbox  network: shut off; files: written only below" in done.stdout
    with_operation(tmp_path / "folder", outside)
    done = command(tmp_path / "folder", *options, cwd=tmp_path)
    assert done.returncode == 1
    assert "outside; Permission denied" in done.stderr
    assert not outside.exists()


def test_the_death_of_the_process_names_the_model(
    task: EvaluationTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gauntlet.supervisor.call", lambda *_: None)

    def died(*_: Any) -> None:
        raise ProcessDied("the process that did the work ended with code -11")

    monkeypatch.setattr("gauntlet.work.call_with", died)
    with pytest.raises(ProcessDied, match=rf"{task.model}: the process .* code -11.* be damaged"):
        evaluated(task, Console())


def test_what_was_judged_when_the_time_was_over_counts_and_the_same_task_goes_on(
    task: EvaluationTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged: list[int] = []
    judge = Judge.judge

    def slow(self: Judge, x: Any, *arguments: Any) -> Verdict:
        if judged:
            time.sleep(600.0)
        judged.append(len(x))
        return judge(self, x, *arguments)

    monkeypatch.setattr(evaluation, "BATCH_IN_TIME", 50)
    monkeypatch.setattr(Judge, "judge", slow)
    gated = dataclasses.replace(
        task,
        checks=True,
        gates=GatesConfig(**{**vars(OPEN), "clean": 0.1, "checks": (CheckName.PROOFS_HOLD,)}),
        deadline=time.time() + 40.0,
    )
    (result,) = run_evaluation(gated).results
    assert (judged, result.examples) == ([50], 50)
    assert result.undone == (
        "The time sufficed for 50 of 120 images.",
        "The time did not suffice for the honesty checks.",
    )
    gates = {gate.name: gate for gate in result.gates}
    assert {name for name, gate in gates.items() if gate.refuses} == {"clean", "proofs_hold"}
    assert gates["worst_case"].sentence.startswith("The time sufficed for 50 of 120 images. ")
    assert gates["clean"].sentence.startswith("The time sufficed for 50 of 120 images. ")
    assert gates["proofs_hold"].sentence == "No honesty check ran."

    judged.clear()
    monkeypatch.setattr(time, "sleep", lambda _: None)
    (result,) = run_evaluation(dataclasses.replace(gated, deadline=time.time() + 600.0)).results
    assert judged == [50, 20], "the first 50 are read"
    assert (result.examples, result.undone) == (120, ())
    assert not any(gate.refuses for gate in result.gates)


def test_data_that_was_not_reviewed_is_refused_before_the_model_is_loaded(
    task: EvaluationTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    purpose = Purpose(
        dataset="small",
        class_names=("0", "1", "cat"),
        image_shape=SHAPE,
        norm=Norm.LINF,
        epsilon=EPSILON,
    )
    monkeypatch.setattr(evaluation, "load_model", lambda *_: pytest.fail("loaded"))
    with pytest.raises(ConfigError, match="the gates are for another purpose: here the classes"):
        run_evaluation(dataclasses.replace(task, purpose=purpose))
