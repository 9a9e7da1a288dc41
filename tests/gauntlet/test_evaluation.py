"""`gauntlet evaluate` and what it stands on: models from disk, verdicts on disk."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from small_classifier import EPSILON, STAGES, some_images, trained_model
from small_world import CLASSES, SHAPE, small_images

from foundation.errors import ConfigError, DataError, RunError
from gauntlet.evaluation import evaluator as evaluation
from gauntlet.evaluation.evaluator import (
    EvaluationTask,
    joined,
    kept_verdict,
    read_verdict,
    run_evaluation,
)
from robustness.config import AttackName, BoundName, ThreatModel
from robustness.evaluation import Judge, Verdict
from trainer.load import load_model


@pytest.fixture(scope="module")
def model() -> tf_keras.Model:
    return trained_model()


@pytest.fixture(scope="module")
def batch() -> SimpleNamespace:
    return some_images()


@pytest.fixture(scope="module")
def prepared_data(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A prepared tfds data set of the small world's images; its folder."""
    import tensorflow_datasets as tfds

    folder = tmp_path_factory.mktemp("data")

    class Small(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        VERSION = tfds.core.Version("1.0.0")
        pkg_dir_path = folder

        def _info(self) -> Any:
            features = {
                "image": tfds.features.Image(shape=SHAPE),
                "label": tfds.features.ClassLabel(num_classes=3),
            }
            return tfds.core.DatasetInfo(
                builder=self, features=tfds.features.FeaturesDict(features)
            )

        def _split_generators(self, _: Any) -> dict[str, Any]:
            return {"test": self._generate_examples(120)}

        def _generate_examples(self, n: int) -> Any:
            for i, (image, label) in enumerate(zip(*small_images(n, 2), strict=True)):
                yield i, {"image": image, "label": label}

    Small(data_dir=str(folder)).download_and_prepare()
    return str(folder / "small" / "1.0.0")


@pytest.fixture
def task(model: tf_keras.Model, prepared_data: str, tmp_path: Path) -> EvaluationTask:
    model.save(tmp_path / "model", save_format="tf", include_optimizer=False)
    return EvaluationTask(
        model=tmp_path / "model",
        output=tmp_path / "out",
        dataset="small",
        data_dir=prepared_data,
        epsilons=(EPSILON,),
        attacks=(AttackName.FGSM,),
        checks=False,
    )


def test_a_report_has_the_promised_keys_and_files(task: EvaluationTask) -> None:
    report = run_evaluation(
        dataclasses.replace(task, checks=True, epsilons=(EPSILON,), corruptions=False)
    )
    (entry,) = report["results"]
    keys = "norm epsilon examples seed clean attacks worst_case certified certified_by checks seconds seconds_by"
    assert set(keys.split()) <= set(entry)
    assert entry["examples"] == 120
    assert 0 <= entry["certified"] <= entry["worst_case"] <= entry["clean"] <= 1
    assert {"name", "passed", "value", "sentence"} == set(entry["checks"][0])
    folder = Path(report["folder"])
    assert json.loads((folder / "results.json").read_text()) == report
    assert (folder / "curve.png").stat().st_size > 5_000
    rows = Path(entry["examples_file"]).read_text().splitlines()
    assert rows[0] == "id,label,prediction,broken_by,certified_by"
    assert len(rows) == 121
    broken = sum(not row.split(",")[3] for row in rows[1:]) / 120
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
    for first, second in zip(whole["results"], again["results"], strict=True):
        assert {k: first[k] for k in ("clean", "attacks", "certified_by")} == {
            k: second[k] for k in ("clean", "attacks", "certified_by")
        }


def test_another_seed_or_model_is_judged_anew(
    task: EvaluationTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_evaluation(task)
    monkeypatch.setattr(Judge, "judge", lambda *_: pytest.fail("judged again"))
    run_evaluation(task)
    with pytest.raises(pytest.fail.Exception):
        run_evaluation(dataclasses.replace(task, seed=1))


def test_what_was_written_is_checked_when_it_is_read(
    model: Any, batch: Any, tmp_path: Path
) -> None:
    judge = Judge(model, ThreatModel(epsilon=EPSILON), STAGES, SHAPE)
    found = kept_verdict(tmp_path / "v.npz", batch, judge, 0)
    assert np.array_equal(joined([found]).broken_by, found.broken_by)
    with np.load(tmp_path / "v.npz") as columns:
        values = dict(columns)
    values["x_adv"][0] += 0.5
    np.savez(tmp_path / "v.npz", **values)
    with pytest.raises(RunError, match="1 attacked images that were read back lie outside"):
        kept_verdict(tmp_path / "v.npz", batch, judge, 0)
    (tmp_path / "v.npz").write_bytes(b"nonsense")
    assert read_verdict(tmp_path / "v.npz") is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": Path("/nowhere")}, "/nowhere: there is no such file or folder"),
        ({"split": "tset"}, "unknown split 'tset' of small; the splits are test"),
        ({"split": "test[:0]"}, "the split 'test.:0.' of small is empty"),
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
        (SHAPE, 2, "largest label"),
    ):
        other = tf_keras.Sequential([layers.Input(shape), layers.Flatten(), layers.Dense(classes)])
        other.save(tmp_path / "other", save_format="tf")
        with pytest.raises(DataError, match=message):
            run_evaluation(dataclasses.replace(task, model=tmp_path / "other"))


@pytest.mark.parametrize("kind", ["keras2", "h5", "saved_model", "keras3", "versions"])
def test_models_however_they_were_saved(
    model: tf_keras.Model, batch: Any, tmp_path: Path, kind: str
) -> None:
    path = tmp_path / {"keras2": "m.keras", "h5": "m.h5", "keras3": "m3.keras"}.get(kind, "folder")
    match kind:
        case "keras2" | "h5":
            model.save(path)
        case "saved_model":
            tf.saved_model.save(model, str(path))
        case "versions":
            for version in ("9", "10"):
                model.save(path / version, save_format="tf")
        case "keras3":
            import keras

            twin = keras.Sequential(
                [
                    keras.layers.Input(SHAPE),
                    keras.layers.Flatten(),
                    keras.layers.Dense(8, activation="relu"),
                    keras.layers.Dense(CLASSES),
                ]
            )
            twin.set_weights(model.get_weights())
            twin.save(path)
    loaded = load_model(path)
    assert loaded.image_shape == SHAPE
    assert loaded.path.name == ("10" if kind == "versions" else path.name)
    np.testing.assert_allclose(
        loaded.model(tf.constant(batch.x), training=False), model(batch.x), atol=1e-5
    )
    judge = Judge(loaded.model, ThreatModel(epsilon=0.01), (BoundName.CROWN,), SHAPE)
    assert judge.certifier is not None, judge.not_certified


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: path.write_text("no model"), "loading it failed"),
        (lambda path: path.mkdir(), "expected a SavedModel folder"),
        (lambda path: tf.saved_model.save(tf.Module(), str(path)), "its signatures are none"),
        (lambda path: two_inputs().save(path, save_format="tf"), "expected one input of images"),
    ],
    ids=["text", "empty", "no signature", "two inputs"],
)
def test_what_is_no_model_is_refused(tmp_path: Path, make: Any, message: str) -> None:
    make(tmp_path / "model")
    with pytest.raises(DataError, match=message):
        load_model(tmp_path / "model")


def two_inputs() -> tf_keras.Model:
    inputs = [tf_keras.Input(SHAPE), tf_keras.Input(SHAPE)]
    return tf_keras.Model(
        inputs, tf_keras.layers.Dense(3)(tf_keras.layers.Flatten()(inputs[0] + inputs[1]))
    )


def command(*arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    gauntlet = str(Path(sys.executable).parent / "gauntlet")
    return subprocess.run(
        [gauntlet, "evaluate", *map(str, arguments)], cwd=cwd, capture_output=True, text=True
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["model", "--attacks", "fgsm,pdg"],
            "unknown attack pdg; the attacks are fgsm, pgd, pgd-margin",
        ),
        (["model", "--epsilon", "-1"], "epsilon is a finite number >= 0"),
        (["model", "--attacks", "pgd,pgd"], "each attack is named once"),
        (["model", "--limit", "0"], "--limit"),
        (["gs://bucket/model"], "expected a local folder, got gs://bucket/model"),
    ],
)
def test_wrong_usage_ends_at_once(tmp_path: Path, arguments: list[str], message: str) -> None:
    done = command(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


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
