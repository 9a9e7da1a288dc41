"""`gauntlet evaluate` and what it stands on: the judge, models from disk, verdicts on disk."""

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
from small_world import CLASSES, SHAPE, small_images

from foundation.errors import ConfigError, DataError, RunError
from foundation.seeds import image_seeds
from gauntlet.evaluation import evaluator as evaluation
from gauntlet.evaluation.evaluator import (
    EvaluationTask,
    joined,
    kept_verdict,
    read_verdict,
    run_evaluation,
)
from robustness.ball import inside_ball
from robustness.config import Attack, AttackName, BoundName, Norm, ThreatModel
from robustness.evaluation import Judge, Verdict, summarise
from robustness.logits import LOGARITHM, SOFTMAX_REMOVED, as_logits
from robustness.losses import cross_entropy
from robustness.suites import SuiteName, attacks_of, bounds_of, suite
from trainer.load import load_model

STAGES = (
    BoundName.IBP,
    Attack(name=AttackName.FGSM),
    Attack(name=AttackName.PGD, steps=5),
    BoundName.CROWN,
)
EPSILON = 0.03


@pytest.fixture(scope="module")
def model() -> tf_keras.Model:
    """Trained enough for the radius to leave images of every kind: wrong, broken, proven, open."""
    tf_keras.utils.set_random_seed(0)
    layers = tf_keras.layers
    model = tf_keras.Sequential(
        [
            layers.Input(SHAPE),
            layers.Flatten(),
            layers.Dense(8, activation="relu"),
            layers.Dense(CLASSES),
        ]
    )
    model.compile("adam", tf_keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    images, labels = small_images(600, 0)
    model.fit(images / 255.0, labels, epochs=3, batch_size=30, verbose=0)
    return model


@pytest.fixture(scope="module")
def batch() -> SimpleNamespace:
    images, labels = small_images(120, 2)
    ids = [b"%d" % i for i in range(len(labels))]
    return SimpleNamespace(
        x=(images / 255.0).astype(np.float32), y=labels.astype(np.int64), ids=ids
    )


@pytest.fixture(scope="module")
def verdict(model: tf_keras.Model, batch: SimpleNamespace) -> Verdict:
    return Judge(model, ThreatModel(epsilon=EPSILON), STAGES, SHAPE).judge(
        batch.x, batch.y, batch.ids, 0
    )


def test_every_image_is_wrong_broken_proven_or_open(
    model: tf_keras.Model, batch: Any, verdict: Verdict
) -> None:
    assert set(verdict.broken_by) >= {"clean", "fgsm", ""}
    assert set(verdict.certified_by) >= {"ibp", "crown", ""}
    assert not np.any((verdict.broken_by != "") & (verdict.certified_by != "")), (
        "a proven image was broken"
    )
    clean, attacked = (np.argmax(model(x).numpy(), axis=1) for x in (batch.x, verdict.x_adv))
    np.testing.assert_array_equal(verdict.broken_by == "clean", clean != batch.y)
    np.testing.assert_array_equal(verdict.broken_by != "", attacked != batch.y)
    untouched = (verdict.broken_by == "clean") | (verdict.certified_by == "ibp")
    np.testing.assert_array_equal(verdict.x_adv[untouched], batch.x[untouched])


def test_batches_do_not_change_verdicts(
    model: tf_keras.Model, batch: Any, verdict: Verdict
) -> None:
    judge = Judge(model, ThreatModel(epsilon=EPSILON), STAGES, SHAPE)
    order = np.random.default_rng(0).permutation(len(batch.y))
    for part in np.array_split(order, 5):
        found = judge.judge(batch.x[part], batch.y[part], [batch.ids[i] for i in part], 0)
        np.testing.assert_array_equal(found.broken_by, verdict.broken_by[part])
        np.testing.assert_array_equal(found.certified_by, verdict.certified_by[part])
        np.testing.assert_allclose(found.x_adv, verdict.x_adv[part], atol=1e-5)


def test_the_summary_counts_what_each_stage_leaves(model: tf_keras.Model, verdict: Verdict) -> None:
    judge = Judge(model, ThreatModel(epsilon=EPSILON), STAGES, SHAPE)
    found = summarise(verdict, judge)
    assert found["clean"] == np.mean(verdict.broken_by != "clean")
    assert list(found["attacks"]) == ["fgsm", "pgd"]
    assert (
        found["clean"] >= found["attacks"]["fgsm"] >= found["attacks"]["pgd"] == found["worst_case"]
    )
    assert (
        found["certified_by"]["ibp"]
        <= found["certified_by"]["crown"]
        == found["certified"]
        <= found["worst_case"]
    )
    assert found["attacks"]["fgsm"] == np.mean(~np.isin(verdict.broken_by, ["clean", "fgsm"]))
    assert list(found["seconds_by"]) == ["ibp", "fgsm", "pgd", "crown"]


def test_no_bound_for_l2_nor_for_unknown_layers(model: tf_keras.Model, batch: Any) -> None:
    strange = lambda x, training: tf.tanh(model(x))  # noqa: E731
    for judged, threat, reason in (
        (model, ThreatModel(norm=Norm.L2, epsilon=0.1), "L-infinity"),
        (strange, ThreatModel(epsilon=0.01), "Tanh"),
    ):
        judge = Judge(judged, threat, STAGES, SHAPE)
        found = summarise(judge.judge(batch.x[:20], batch.y[:20], batch.ids[:20], 0), judge)
        assert found["certified"] is None
        assert found["certified_by"] == {}
        assert reason in found["not_certified"]


def test_transfers_run_before_own_attacks(model: tf_keras.Model, batch: Any) -> None:
    name = "twin-of-a-name-that-is-longer-than-any-attack.keras"
    judge = Judge(model, ThreatModel(epsilon=0.1), STAGES, SHAPE, sources={name: model})
    found = judge.judge(batch.x, batch.y, batch.ids, 0)
    assert list(found.seconds) == ["ibp", f"transfer:{name}", "fgsm", "pgd", "crown"]
    broken = found.broken_by == f"transfer:{name}"
    assert np.any(broken), "images made against the same weights break nothing"
    assert summarise(found, judge)["attacks"][f"transfer:{name}"] < summarise(found, judge)["clean"]


def test_images_for_other_models_are_pushed_beyond_the_boundary(
    model: tf_keras.Model, batch: Any
) -> None:
    judge = Judge(model, ThreatModel(epsilon=0.1), STAGES, SHAPE)
    seeds = image_seeds(batch.ids, 0)
    own = judge.attacker.run(Attack(name=AttackName.PGD, steps=40), batch.x, batch.y, seeds)
    pushed = judge.attacker.transferable(batch.x, batch.y, seeds)
    losses = [cross_entropy(model(x), tf.constant(batch.y)).numpy() for x in (own, pushed)]
    assert np.mean(losses[1]) > 1.1 * np.mean(losses[0])
    assert np.all(losses[1] >= losses[0] - 1e-4)
    assert np.all(inside_ball(tf.constant(pushed), tf.constant(batch.x), judge.threat))


def test_an_attack_that_leaves_its_ball_is_an_error(
    model: tf_keras.Model, batch: Any, monkeypatch: Any
) -> None:
    judge = Judge(model, ThreatModel(epsilon=0.01), (Attack(name=AttackName.FGSM),), SHAPE)
    monkeypatch.setattr(judge.attacker, "run", lambda attack, x, y, seeds: x + np.float32(0.02))
    with pytest.raises(RunError, match=r"fgsm: .* outside the linf ball of radius 0.01"):
        judge.judge(batch.x, batch.y, batch.ids, 0)


def test_weights_that_are_not_numbers_are_never_right(model: tf_keras.Model, batch: Any) -> None:
    broken = tf_keras.models.clone_model(model)
    broken.layers[-1].bias.assign([0.0, np.nan, 0.0])
    judge = Judge(broken, ThreatModel(epsilon=0.01), STAGES, SHAPE)
    assert set(judge.judge(batch.x, batch.y, batch.ids, 0).broken_by) == {"clean"}


def test_the_published_suite_has_its_published_effort() -> None:
    """Croce & Hein 2020, the `standard` version: one restart each, nine targets, 5000 queries."""
    efforts = {str(a.name): (a.steps, a.restarts) for a in attacks_of(suite(SuiteName.AUTOATTACK))}
    assert efforts == {
        "apgd-ce": (100, 1),
        "apgd-t": (100, 1),
        "fab-t": (100, 1),
        "square": (5000, 1),
    }
    assert [
        a.targets for a in attacks_of(suite(SuiteName.AUTOATTACK)) if a.name.endswith("-t")
    ] == [9, 9]


def test_named_attacks_replace_those_of_the_suite() -> None:
    stages = suite(SuiteName.FAST, (AttackName.SQUARE, AttackName.PGD_MARGIN))
    assert [attack.name for attack in attacks_of(stages)] == ["square", "pgd-margin"]
    assert bounds_of(stages) == bounds_of(suite(SuiteName.FAST))
    with pytest.raises(ConfigError, match="named once"):
        suite(SuiteName.FAST, (AttackName.PGD, AttackName.PGD))


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


def test_a_softmax_is_taken_off(model: tf_keras.Model, batch: Any) -> None:
    with_softmax = tf_keras.Sequential([model, tf_keras.layers.Softmax()])
    logits, note = as_logits(with_softmax, SHAPE, batch.x)
    assert note == SOFTMAX_REMOVED
    np.testing.assert_allclose(
        logits(tf.constant(batch.x), training=False), model(batch.x), atol=1e-5
    )
    assert as_logits(model, SHAPE, batch.x) == (model, "")
    assert Judge(logits, ThreatModel(epsilon=0.01), (BoundName.CROWN,), SHAPE).certifier is not None


def test_other_probabilities_are_used_with_a_warning(model: tf_keras.Model, batch: Any) -> None:
    def probabilities(x: tf.Tensor, training: bool) -> tf.Tensor:
        positive = tf.exp(model(x, training=training))
        return positive / tf.reduce_sum(positive, axis=1, keepdims=True)

    logits, note = as_logits(probabilities, SHAPE, batch.x)
    assert note == LOGARITHM
    np.testing.assert_allclose(
        logits(tf.constant(batch.x), training=False), tf.nn.log_softmax(model(batch.x)), atol=1e-4
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
