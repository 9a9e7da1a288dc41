"""AdversarialExampleGen on the small world: its rows, what is counted from them, and an attack that
leaves its ball."""

import json
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Protocol

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from small_world import EXAMPLES, SHAPE, artifact, column, pixels, read_rows
from tfx.types.standard_artifacts import Examples, Model, TransformGraph

from components.adversarial_example_gen import executor as adversarial
from components.adversarial_example_gen.config import AttackConfig
from components.evaluator.tally import tally
from components.records.names import CLEAN, FGSM, MODELS, NO_BOUND, ROBUST, STRONGEST
from components.records.record import Rows
from components.records.shards import list_shards, read_shards, shard_path, write_shard
from components.records.writer import read_written
from foundation.errors import RunError
from foundation.seeds import image_seeds
from pipeline.report.accuracies import Accuracies, accuracies
from robustness.attacks.attacker import Attacker
from robustness.config import Attack, AttackName, BoundName, Fgsm, ThreatModel
from robustness.evaluation import Judge
from robustness.suites import bounds_of

pytestmark = pytest.mark.usefixtures("in_memory_beam")

EPSILON = 0.16
"""Certifies some images of the small world, breaks some, and leaves others open."""

SUITE = {"suite": "fast", "names": ["fgsm", "pgd"]}
STAGES = AttackConfig(names=(AttackName.FGSM, AttackName.PGD)).stages


class Attacked(Protocol):
    """Runs AdversarialExampleGen on the small world and gives the rows that it wrote."""

    def __call__(
        self, *, examples: str = "", norm: str = "linf", epsilon: float = EPSILON, **attack: Any
    ) -> list[tf.train.Example]: ...


@pytest.fixture(scope="module")
def attacked(
    small_world: SimpleNamespace,
    small_models: dict[str, str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Attacked:
    def run(
        *, examples: str = "", norm: str = "linf", epsilon: float = EPSILON, **attack: Any
    ) -> list[tf.train.Example]:
        folder = tmp_path_factory.mktemp("attacked")
        inputs = {
            "examples": [
                artifact(Examples, examples or small_world.examples, split_names='["test"]')
            ],
            "transform_graph": [artifact(TransformGraph, small_world.transform)],
            **{name: [artifact(Model, uri)] for name, uri in small_models.items()},
        }
        properties = {
            "split": "test",
            "threat": json.dumps({"norm": norm, "epsilon": epsilon}),
            "seed": 5,
        }
        properties["attack"] = json.dumps(SUITE | attack)
        output = {"adversarial_examples": [artifact(Examples, str(folder))]}
        adversarial.Executor(
            adversarial.Executor.Context(
                beam_pipeline_args=[], tmp_dir=str(folder / "tmp"), unique_id="1"
            )
        ).Do(inputs, output, properties)
        assert read_written(str(folder)).images == EXAMPLES
        return read_rows(f"{folder}/Split-test")

    return run


@pytest.fixture(scope="module")
def rows(attacked: Attacked, in_memory_beam: None) -> list[tf.train.Example]:
    """What AdversarialExampleGen writes for the small world."""
    return attacked()


def by_image(rows: list[tf.train.Example]) -> list[dict[str, tf.train.Example]]:
    """Of each image its rows by attack."""
    images: dict[bytes, dict[str, tf.train.Example]] = {}
    for row in rows:
        images.setdefault(column(row, "id"), {})[column(row, "attack").decode()] = row
    return list(images.values())


def test_attacked_rows_are_paired_and_recorded(rows: list[tf.train.Example]) -> None:
    attacks = {CLEAN, "fgsm@undefended", "fgsm@robust", "strongest@undefended", "strongest@robust"}
    assert len(rows) == EXAMPLES * len(attacks)
    assert len(by_image(rows)) == EXAMPLES
    for versions in by_image(rows):
        assert set(versions) == attacks
        clean = versions[CLEAN]
        for attack, row in versions.items():
            assert np.abs(pixels(row) - pixels(clean)).max() <= EPSILON + 1e-6
            assert column(row, "label") == column(clean, "label")
            recorded = [column(row, name) for name in ("norm", "epsilon", "seed")]
            assert recorded == pytest.approx(
                [b"", 0.0, 5] if attack == CLEAN else [b"linf", EPSILON, 5]
            )


@pytest.mark.parametrize("model", MODELS)
def test_verdicts_agree_with_the_predictions(rows: list[tf.train.Example], model: str) -> None:
    found = Counter()
    for versions in by_image(rows):
        broken_by, certified_by = (
            {column(row, prefix + model).decode() for row in versions.values()}
            for prefix in ("broken_by_", "certified_by_")
        )
        assert len(broken_by) == len(certified_by) == 1, (
            "verdicts are the same on all rows of an image"
        )
        (broken, certified), right = (*broken_by, *certified_by), {}
        for attack, row in versions.items():
            right[attack] = column(row, "prediction_" + model) == column(row, "label")
        assert (broken == CLEAN) == (not right[CLEAN])
        assert (broken == "") == (right[CLEAN] and right[f"strongest@{model}"])
        assert broken in {"", CLEAN, "fgsm", "pgd"}
        assert certified in {"", *BoundName}
        if certified:
            assert all(right.values()), "a proof that a row contradicts"
        if broken == "fgsm":
            np.testing.assert_array_equal(
                pixels(versions[f"strongest@{model}"]), pixels(versions[f"fgsm@{model}"])
            )
        if certified == BoundName.IBP or broken == CLEAN:  # no attack was needed
            np.testing.assert_array_equal(
                pixels(versions[f"strongest@{model}"]), pixels(versions[CLEAN])
            )
        found[bool(broken), bool(certified)] += 1
    assert min(found[True, False], found[False, True]) > 0, "the radius shows nothing"
    assert found[True, True] == 0


def test_rows_say_what_the_judge_says(
    rows: list[tf.train.Example], small_models: dict[str, str]
) -> None:
    """The whole split at once, where the node had shards: same verdicts, same images."""
    images = by_image(rows)
    clean = [versions[CLEAN] for versions in images]
    x = np.stack([pixels(row).reshape(SHAPE) for row in clean])
    y = np.array([column(row, "label") for row in clean])
    ids = [column(row, "id") for row in clean]
    network = tf_keras.models.load_model(f"{small_models[ROBUST]}/Format-Serving", compile=False)
    judge = Judge(network, ThreatModel(epsilon=EPSILON), STAGES, SHAPE)
    verdict = judge.judge(x, y, ids, seed=5)
    for name, told in (
        ("prediction_robust", verdict.prediction),
        ("broken_by_robust", verdict.broken_by.astype(bytes)),
        ("certified_by_robust", verdict.certified_by.astype(bytes)),
    ):
        assert [column(row, name) for row in clean] == told.tolist()
    fgsm = judge.attacker.run(Fgsm(), x, y, image_seeds(ids, 5))
    for attack, told in ((FGSM, fgsm), (STRONGEST, verdict.x_adv)):
        shown = [pixels(v[f"{attack}@robust"]).reshape(SHAPE) for v in images]
        np.testing.assert_allclose(np.stack(shown), told, atol=1e-6)


def test_recorded_predictions_are_those_of_the_exported_models(
    rows: list[tf.train.Example], small_models: dict[str, str]
) -> None:
    serialized = tf.constant([row.SerializeToString() for row in rows])
    for name, uri in small_models.items():
        signature = tf.saved_model.load(f"{uri}/Format-Serving").signatures["transformed_examples"]
        answers = signature(examples=serialized)["logits"].numpy().argmax(axis=1)
        assert answers.tolist() == [column(row, f"prediction_{name}") for row in rows]


def test_attack_is_stronger_on_its_own_model_than_on_the_other(attacked: Attacked) -> None:
    rows = attacked(epsilon=0.22, checks=False)

    def accuracy(model: str, attack: str) -> float:
        chosen = [row for row in rows if column(row, "attack") == attack.encode()]
        return float(
            np.mean([column(row, f"prediction_{model}") == column(row, "label") for row in chosen])
        )

    assert accuracy("undefended", "strongest@undefended") < accuracy("undefended", CLEAN)
    assert accuracy("undefended", "strongest@undefended") <= accuracy(
        "undefended", "fgsm@undefended"
    )
    assert accuracy("undefended", "strongest@undefended") <= accuracy(
        "undefended", "strongest@robust"
    )


@pytest.mark.slow
@pytest.mark.parametrize(("size", "shards"), [(7, 1), (33, 5)])
def test_rows_depend_neither_on_batches_nor_on_shards(
    attacked: Attacked,
    rows: list[tf.train.Example],
    small_world: SimpleNamespace,
    size: int,
    shards: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    records = list(
        read_shards(list_shards(f"{small_world.examples}/Split-test")).as_numpy_iterator()
    )[::-1]
    for i in range(shards):
        write_shard(
            shard_path(str(tmp_path / "Split-test"), i, shards, compressed=True), records[i::shards]
        )
    monkeypatch.setattr(adversarial, "batch_of", lambda shape: size)
    one, other = (
        {(column(row, "id"), column(row, "attack")): row for row in found}
        for found in (rows, attacked(examples=str(tmp_path)))
    )
    assert one.keys() == other.keys()
    for key, row in one.items():
        np.testing.assert_allclose(pixels(row), pixels(other[key]), atol=1e-6)
        for name in set(row.features.feature) - {"image"}:
            assert column(row, name) == column(other[key], name), name


def test_no_bound_applies_to_l2(attacked: Attacked) -> None:
    rows = attacked(norm="l2", epsilon=1.2, checks=False)
    for versions in by_image(rows):
        clean = versions[CLEAN]
        for row in versions.values():
            assert np.linalg.norm(pixels(row) - pixels(clean)) <= 1.2 + 1e-5
            assert {column(row, "certified_by_" + model) for model in MODELS} == {NO_BOUND.encode()}
    results = counted(rows, "robust")
    assert (results.certified, results.certified_by) == (None, {})
    assert list(results.white_box) == ["fgsm", "pgd"]
    assert results.worst_case < results.clean


def counted(rows: list[tf.train.Example], model: str) -> Accuracies:
    """What a run's summary says of rows."""
    table = Rows.parse([row.SerializeToString() for row in rows], MODELS)
    return accuracies(tally(table), model, STAGES)


@pytest.mark.parametrize("model", MODELS)
def test_accuracies_are_counted_from_the_rows(rows: list[tf.train.Example], model: str) -> None:
    results = counted(rows, model)
    (other,) = set(MODELS) - {model}

    def right(row: tf.train.Example) -> bool:
        return column(row, "prediction_" + model) == column(row, "label")

    def share(attack: str) -> float:
        return float(np.mean([right(versions[attack]) for versions in by_image(rows)]))

    assert results.clean == pytest.approx(share(CLEAN))
    transfer = {attack: share(f"{attack}@{other}") for attack in ("fgsm", "strongest")}
    assert results.transfer == pytest.approx(transfer)
    white_box = {"fgsm": share(f"fgsm@{model}"), "pgd": share(f"strongest@{model}")}
    assert results.white_box == pytest.approx(white_box)
    assert results.worst_case == pytest.approx(
        np.mean([all(map(right, v.values())) for v in by_image(rows)])
    )
    proofs = Counter(
        column(versions[CLEAN], "certified_by_" + model).decode() for versions in by_image(rows)
    )
    steps = np.cumsum([proofs[bound] for bound in bounds_of(STAGES)]) / EXAMPLES
    assert results.certified_by == pytest.approx(dict(zip(bounds_of(STAGES), steps, strict=True)))
    assert results.certified == pytest.approx(steps[-1])
    assert results.certified <= results.worst_case <= min(results.white_box.values())


def test_an_attack_that_leaves_its_ball_is_an_error(
    attacked: Attacked, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Attacker.run

    def too_far(self: Attacker, attack: Attack, x: np.ndarray, *rest: Any) -> np.ndarray:
        moved = run(self, attack, x, *rest).copy()
        moved[:1] = x[:1] + 2 * EPSILON if attack.name is AttackName.PGD else moved[:1]
        return moved

    monkeypatch.setattr(Attacker, "run", too_far)
    with pytest.raises(
        RunError, match=rf"pgd: 1 attacked images lie outside the linf ball of radius {EPSILON}"
    ):
        attacked(checks=False)
