"""The judge: every image wrong, broken, proven or open, whatever the batches."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from small_classifier import EPSILON, STAGES, some_images, trained_model
from small_world import SHAPE

from foundation.errors import ConfigError, DataError, RunError
from foundation.seeds import image_seeds
from robustness.ball import inside_ball
from robustness.config import BoundName, Fgsm, Norm, Pgd, ThreatModel
from robustness.evaluation import Judge, Verdict, accuracies_by_stage, stage_name, summarise
from robustness.losses import cross_entropy
from robustness.suites import Transfer


@pytest.fixture(scope="module")
def model() -> tf_keras.Model:
    return trained_model()


@pytest.fixture(scope="module")
def batch() -> SimpleNamespace:
    return some_images()


@pytest.fixture(scope="module")
def judge(model: tf_keras.Model) -> Judge:
    return Judge(model, ThreatModel(epsilon=EPSILON), STAGES, SHAPE)


@pytest.fixture(scope="module")
def verdict(judge: Judge, batch: SimpleNamespace) -> Verdict:
    return judge.judge(batch.x, batch.y, batch.ids, 0)


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


def test_batches_do_not_change_verdicts(judge: Judge, batch: Any, verdict: Verdict) -> None:
    order = np.random.default_rng(0).permutation(len(batch.y))
    for part in np.array_split(order, 5):
        found = judge.judge(batch.x[part], batch.y[part], [batch.ids[i] for i in part], 0)
        np.testing.assert_array_equal(found.broken_by, verdict.broken_by[part])
        np.testing.assert_array_equal(found.certified_by, verdict.certified_by[part])
        np.testing.assert_allclose(found.x_adv, verdict.x_adv[part], atol=1e-5)


@pytest.mark.parametrize("count", [0, 1, 1000])
def test_every_image_has_an_id(judge: Judge, batch: Any, count: int) -> None:
    with pytest.raises(DataError, match=f"got {count} ids of "):
        judge.judge(batch.x, batch.y, [b"%d" % i for i in range(count)], seed=0)


def test_the_summary_counts_what_each_stage_leaves(judge: Judge, verdict: Verdict) -> None:
    summary = summarise(verdict, judge)
    assert summary.clean == np.mean(verdict.broken_by != "clean")
    assert list(summary.attacks) == ["fgsm", "pgd"]
    fgsm, pgd = summary.attacks.values()
    assert summary.clean >= fgsm >= pgd == summary.worst_case
    ibp, crown = summary.certified_by.values()
    assert list(summary.certified_by) == ["ibp", "crown"]
    assert ibp <= crown == summary.certified <= summary.worst_case
    assert fgsm == np.mean(~np.isin(verdict.broken_by, ["clean", "fgsm"]))
    assert list(summary.seconds_by) == ["ibp", "fgsm", "pgd", "crown"]


def test_no_bound_for_l2_nor_for_unknown_layers(model: tf_keras.Model, batch: Any) -> None:
    strange = lambda x, training: tf.sin(model(x))  # noqa: E731
    for judged, threat, reason in (
        (model, ThreatModel(norm=Norm.L2, epsilon=0.1), "L-infinity"),
        (strange, ThreatModel(epsilon=0.01), "Sin"),
    ):
        judge = Judge(judged, threat, STAGES, SHAPE)
        summary = summarise(judge.judge(batch.x[:20], batch.y[:20], batch.ids[:20], 0), judge)
        assert summary.certified is None
        assert summary.certified_by == {}
        assert reason in (summary.not_certified or "")


def test_transfers_run_before_own_attacks(model: tf_keras.Model, batch: Any) -> None:
    name = "twin-of-a-name-that-is-longer-than-any-attack.keras"
    judge = Judge(model, ThreatModel(epsilon=0.1), STAGES, SHAPE, sources={name: model})
    found = judge.judge(batch.x, batch.y, batch.ids, 0)
    assert list(found.seconds) == ["ibp", f"transfer:{name}", "fgsm", "pgd", "crown"]
    broken = found.broken_by == f"transfer:{name}"
    assert np.any(broken), "images made against the same weights break nothing"
    summary = summarise(found, judge)
    assert summary.attacks[f"transfer:{name}"] < summary.clean


def test_images_for_other_models_are_pushed_beyond_the_boundary(
    model: tf_keras.Model, batch: Any
) -> None:
    judge = Judge(model, ThreatModel(epsilon=0.1), STAGES, SHAPE)
    seeds = image_seeds(batch.ids, 0)
    own = judge.attacker.run(Pgd(steps=40), batch.x, batch.y, seeds)
    pushed = judge.attacker.transferable(batch.x, batch.y, seeds)
    losses = [cross_entropy(model(x), tf.constant(batch.y)).numpy() for x in (own, pushed)]
    assert np.mean(losses[1]) > 1.1 * np.mean(losses[0])
    assert np.all(losses[1] >= losses[0] - 1e-4)
    assert np.all(inside_ball(tf.constant(pushed), tf.constant(batch.x), judge.threat))


def test_an_attack_that_leaves_its_ball_is_an_error(
    model: tf_keras.Model, batch: Any, monkeypatch: Any
) -> None:
    judge = Judge(model, ThreatModel(epsilon=0.01), (Fgsm(),), SHAPE)
    monkeypatch.setattr(judge.attacker, "run", lambda attack, x, y, seeds: x + np.float32(0.02))
    with pytest.raises(RunError, match=r"fgsm: .* outside the linf ball of radius 0.01"):
        judge.judge(batch.x, batch.y, batch.ids, 0)


def test_weights_that_are_not_numbers_are_never_right(model: tf_keras.Model, batch: Any) -> None:
    broken = tf_keras.models.clone_model(model)
    broken.layers[-1].bias.assign([0.0, np.nan, 0.0])
    judge = Judge(broken, ThreatModel(epsilon=0.01), STAGES, SHAPE)
    assert set(judge.judge(batch.x, batch.y, batch.ids, 0).broken_by) == {"clean"}


def test_a_transfer_among_the_stages_is_refused(model: tf_keras.Model) -> None:
    """It would name a model that the judge does not have."""
    with pytest.raises(ConfigError, match="give its model in sources"):
        Judge(model, ThreatModel(epsilon=0.01), (Transfer(source="other"),), SHAPE)


def test_stages_have_the_names_under_which_results_are_kept() -> None:
    stages = (BoundName.CROWN, Fgsm(), Transfer(source="twin"))
    assert [stage_name(stage) for stage in stages] == ["crown", "fgsm", "transfer:twin"]


def test_no_images_have_no_accuracy(judge: Judge, batch: Any) -> None:
    """A share of nothing would be no number, and no JSON."""
    empty = judge.judge(batch.x[:0], batch.y[:0], [], 0)
    assert empty.robust.shape == (0,)
    with pytest.raises(DataError, match="no images to count"):
        summarise(empty, judge)
    with pytest.raises(DataError, match="no images to count"):
        accuracies_by_stage(empty.broken_by, empty.certified_by, STAGES)
