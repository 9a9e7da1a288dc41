"""ChampionChallenge on the small world: the rows that it adds, and none without a champion."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from small_world import EXAMPLES, artifact, column, pixels, read_rows
from tfx.types.standard_artifacts import Examples, Model, String, TransformGraph

from components.adversarial_example_gen import executor as attack
from components.adversarial_example_gen.executor import read_task
from components.champion_challenge import executor as challenge
from components.champion_challenge.rivalry import RIVALRY, Rivalry, read_rivalry
from components.pusher import publish
from components.records.checks import read_checks
from components.records.names import CLEAN
from components.records.shards import list_shards
from components.records.writer import read_written
from components.versions import Card
from foundation.errors import ConfigError, DataError, RunError
from robustness.attacks.attacker import Attacker
from robustness.config import AttackName, CheckName
from trainer.classes import CLASS_NAMES, file_of

pytestmark = pytest.mark.usefixtures("in_memory_beam")
PROPERTIES = {
    "split": "test",
    "threat": json.dumps({"epsilon": 0.16}),
    "attack": json.dumps({"suite": "fast", "names": ["fgsm", "pgd"]}),
    "seed": 5,
}
Challenged = Callable[..., list[tf.train.Example]]


@pytest.fixture(scope="module")
def attacked(
    small_world: SimpleNamespace,
    small_models: dict[str, str],
    in_memory_beam: None,
    tmp_path_factory: pytest.TempPathFactory,
) -> Examples:
    folder = tmp_path_factory.mktemp("attacked")
    output = artifact(Examples, str(folder))
    inputs = {
        "examples": [artifact(Examples, small_world.examples, split_names='["test"]')],
        "transform_graph": [artifact(TransformGraph, small_world.transform)],
        **{name: [artifact(Model, uri)] for name, uri in small_models.items()},
    }
    context = attack.Executor.Context(
        beam_pipeline_args=[], tmp_dir=str(folder / "tmp"), unique_id="1"
    )
    attack.Executor(context).Do(inputs, {"adversarial_examples": [output]}, PROPERTIES)
    return output


@pytest.fixture(scope="module")
def challenged(attacked: Examples, small_models: dict[str, str]) -> Challenged:
    def run(
        champion: str | None, folder: Path, accept_classes: int = 0, **more: str
    ) -> list[tf.train.Example]:
        inputs = {name: [artifact(Model, uri)] for name, uri in small_models.items()}
        inputs |= {"adversarial_examples": [attacked]}
        inputs |= {"_Champion.version": [artifact(String, str(folder))]}  # as TFX hands it over too
        output = artifact(Examples, str(folder / "challenged"))
        context = challenge.Executor.Context(
            beam_pipeline_args=[], tmp_dir=str(folder / "tmp"), unique_id="1"
        )
        properties = PROPERTIES | {"champion": champion or "", "accept_classes": accept_classes}
        properties |= more
        challenge.Executor(context).Do(inputs, {"challenged_examples": [output]}, properties)
        if not read_rivalry(output.uri).champion:
            assert output.split_names == "[]"
            assert [path.name for path in Path(output.uri).iterdir()] == [RIVALRY]
            return []
        assert read_written(output.uri).images == EXAMPLES
        return read_rows(f"{output.uri}/Split-test")

    return run


@pytest.fixture(scope="module")
def rows(
    challenged: Challenged, small_models: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> list[tf.train.Example]:
    """The undefended model in the part of the champion."""
    champion = f"{small_models['undefended']}/Format-Serving"
    return challenged(champion, tmp_path_factory.mktemp("challenged"))


def test_the_honesty_checks_stand_beside_the_rows_and_on_them(attacked: Examples) -> None:
    checks = read_checks(attacked.uri)
    assert {check.name for check in checks} == set(CheckName)
    by_verdict = [
        ",".join(c.name for c in checks if c.passed is wanted) for wanted in (True, False)
    ]
    for row in read_rows(f"{attacked.uri}/Split-test"):
        assert [
            column(row, name).decode() for name in ("passed_checks", "failed_checks")
        ] == by_verdict
        assert column(row, "judged_by_robust") == b"ibp,fgsm,pgd,crown,alpha-crown"


def test_the_champion_is_shown_everything_and_attacked(
    rows: list[tf.train.Example], attacked: Examples, small_models: dict[str, str]
) -> None:
    """What it predicts on the rows that are there already stands on its own rows."""
    there = read_rows(f"{attacked.uri}/Split-test")
    assert len(rows) == 2 * EXAMPLES
    assert {column(row, "attack") for row in rows} == {b"fgsm@champion", b"strongest@champion"}
    assert answers(small_models, rows) == [column(row, "prediction_champion") for row in rows]
    expected: dict[bytes, dict[str, int]] = {}
    for row, answer in zip(there, answers(small_models, there), strict=True):
        expected.setdefault(column(row, "id"), {})[column(row, "attack").decode()] = answer
    clean = {column(row, "id"): row for row in there if column(row, "attack") == CLEAN.encode()}
    for row in rows:
        said = (each.split(":") for each in column(row, "champion_on").decode().split(","))
        assert {name: int(answer) for name, answer in said} == expected[column(row, "id")]
        original = clean[column(row, "id")]
        assert np.abs(pixels(row) - pixels(original)).max() <= 0.16 + 1e-6
        assert column(row, "label") == column(original, "label")
        assert (column(row, "norm"), column(row, "epsilon")) == (b"linf", pytest.approx(0.16))
        for name in ("certified_by_robust", "broken_by_undefended", "failed_checks"):
            assert column(row, name) == column(original, name)


def answers(small_models: dict[str, str], rows: list[tf.train.Example]) -> list[int]:
    """What the undefended model says of rows."""
    network = tf_keras.models.load_model(
        f"{small_models['undefended']}/Format-Serving", compile=False
    )
    images = np.stack([pixels(row) for row in rows]).reshape(-1, 8, 8, 1)
    return list(network(images).numpy().argmax(axis=1))


def test_attacks_on_the_champion_are_those_on_the_same_model(
    rows: list[tf.train.Example], attacked: Examples
) -> None:
    """It is the undefended model, and faces the same seeds: the same images must come out."""
    there = read_rows(f"{attacked.uri}/Split-test")
    known = {(column(row, "id"), column(row, "attack")): row for row in there}
    for row in rows:
        name = column(row, "attack").replace(b"@champion", b"@undefended")
        twin = known[column(row, "id"), name]
        np.testing.assert_allclose(pixels(row), pixels(twin), atol=1e-6)
        assert column(row, "prediction_robust") == column(twin, "prediction_robust")


@pytest.mark.parametrize("size", [7, 96])
def test_no_more_rows_are_in_memory_than_a_batch(
    rows: list[tf.train.Example],
    attacked: Examples,
    small_models: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    size: int,
) -> None:
    """Whatever the order and the size of the batches, the same rows come out."""
    monkeypatch.setattr(challenge, "batch_of", lambda shape: size)
    exports = {name: f"{uri}/Format-Serving" for name, uri in small_models.items()}
    source = challenge.ChallengedRows(read_task(attacked.uri), exports, exports["undefended"])
    source.setup()
    shards = list_shards(f"{attacked.uri}/Split-test")
    batches = [batch for shard in shards for batch in source.rows(shard)]
    assert max(map(len, batches)) <= size
    made = {(batch.id[i], batch.attack[i]): batch[i : i + 1] for batch in batches
            for i in range(len(batch))}  # fmt: skip
    assert len(made) == len(rows)
    for row in rows:
        twin = made[column(row, "id"), column(row, "attack").decode()]
        assert twin.champion_on[0] == column(row, "champion_on").decode()
        np.testing.assert_allclose(twin.image.ravel(), pixels(row), atol=1e-6)


def test_an_image_that_the_champion_did_not_face_is_missed(
    challenged: Challenged,
    small_models: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows_of = challenge.ChallengedRows.rows

    def without_one(self: Any, shard: str) -> Any:
        for rows in rows_of(self, shard):
            yield rows[rows.id != b"small-2-0"]

    monkeypatch.setattr(challenge.ChallengedRows, "rows", without_one)
    with pytest.raises(RunError, match="champion to face all 96 images, it faced 95"):
        challenged(f"{small_models['undefended']}/Format-Serving", tmp_path)


@pytest.mark.parametrize("who", ["nobody", "itself", "another shape"])
def test_without_a_rival_there_are_no_rows(
    challenged: Challenged,
    small_models: dict[str, str],
    tmp_path: Path,
    who: str,
) -> None:
    layers = tf_keras.layers
    other = tf_keras.Sequential([layers.Input((9, 8, 1)), layers.Flatten(), layers.Dense(3)])
    other.save(tmp_path / "other" / "Format-Serving", save_format="tf")
    champion = {
        "nobody": None,
        "itself": f"{tmp_path}/serving/"
        + publish(
            f"{small_models['robust']}/Format-Serving",
            f"{tmp_path}/serving",
            Card(model=small_models["robust"]),
        ),
        "another shape": str(tmp_path / "other" / "Format-Serving"),
    }[who]
    rows = challenged(champion, tmp_path)
    reason = {
        "nobody": "",
        "itself": "the candidate is the model that is served",
        "another shape": "the champion takes images of another shape: (9, 8, 1), the candidate "
        "(8, 8, 1)",
    }[who]
    assert read_rivalry(str(tmp_path / "challenged")) == Rivalry(reason=reason)
    assert rows == []


@pytest.mark.parametrize("name", [AttackName.FGSM, AttackName.PGD])
def test_an_attack_on_the_champion_that_leaves_its_ball_is_an_error(
    challenged: Challenged,
    small_models: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: AttackName,
) -> None:
    run = Attacker.run

    def too_far(self: Attacker, attack: Any, x: np.ndarray, *rest: Any) -> np.ndarray:
        return np.clip(x + 0.4, 0, 1) if attack.name is name else run(self, attack, x, *rest)

    monkeypatch.setattr(Attacker, "run", too_far)
    with pytest.raises(
        RunError, match=r"attacked images lie outside the linf ball of radius 0\.16"
    ):
        challenged(f"{small_models['undefended']}/Format-Serving", tmp_path)


def test_a_model_that_was_attacked_must_be_there(
    attacked: Examples, small_models: dict[str, str], tmp_path: Path
) -> None:
    inputs = {
        "adversarial_examples": [attacked],
        "robust": [artifact(Model, small_models["robust"])],
    }
    context = challenge.Executor.Context(
        beam_pipeline_args=[], tmp_dir=str(tmp_path), unique_id="1"
    )
    output = artifact(Examples, str(tmp_path / "challenged"))
    with pytest.raises(ConfigError, match="attacked, robust, undefended; it got robust"):
        challenge.Executor(context).Do(inputs, {"challenged_examples": [output]}, PROPERTIES)


def test_a_model_that_was_changed_after_the_attack_is_refused(
    attacked: Examples, small_models: dict[str, str], tmp_path: Path
) -> None:
    """What the rows say would be told of the new weights."""
    changed = tmp_path / "robust"
    shutil.copytree(small_models["robust"], changed)
    (index,) = changed.glob("Format-Serving/variables/*.data*")
    content = bytearray(index.read_bytes())
    content[len(content) // 2] ^= 1
    index.write_bytes(content)
    inputs = {name: [artifact(Model, uri)] for name, uri in small_models.items()}
    inputs |= {"adversarial_examples": [attacked], "robust": [artifact(Model, str(changed))]}
    context = challenge.Executor.Context(
        beam_pipeline_args=[], tmp_dir=str(tmp_path), unique_id="1"
    )
    output = artifact(Examples, str(tmp_path / "challenged"))
    with pytest.raises(RunError, match="is not the one that was judged: its files were changed"):
        challenge.Executor(context).Do(inputs, {"challenged_examples": [output]}, PROPERTIES)


def champion_with(small_models: dict[str, str], folder: Path, names: tuple[str, ...]) -> str:
    """The undefended model as a champion that knows these classes; empty: as one of before."""
    export = shutil.copytree(f"{small_models['undefended']}/Format-Serving", folder / "champion")
    file = export / "assets" / CLASS_NAMES
    if names:
        file.write_bytes(file_of(names))
    else:
        file.unlink()
    return str(export)


OTHERS = ("low", "middle", "high")


def test_a_champion_of_other_classes_is_not_compared_silently(
    small_models: dict[str, str], tmp_path: Path
) -> None:
    candidate = artifact(Model, small_models["robust"])
    champion = champion_with(small_models, tmp_path, OTHERS)
    with pytest.raises(DataError, match=r'low is gone, "low, or grey" is new.*cannot be compared'):
        challenge.rival(candidate, champion)
    assert challenge.rival(candidate, champion, accepted=True) == Rivalry(
        reason='the champion knows other classes (low is gone, "low, or grey" is new), accepted'
    )


def test_a_champion_of_another_number_of_classes(
    small_models: dict[str, str], tmp_path: Path
) -> None:
    """Of a model of another pipeline, which has neither names nor settings."""
    layers = tf_keras.layers
    other = tf_keras.Sequential([layers.Input((8, 8, 1)), layers.Flatten(), layers.Dense(4)])
    other.save(tmp_path / "other", save_format="tf")
    candidate = artifact(Model, small_models["robust"])
    with pytest.raises(DataError, match="there were 4 classes, now there are 3"):
        challenge.rival(candidate, str(tmp_path / "other"))


def test_of_a_champion_without_names_the_number_is_compared_and_that_is_said(
    small_models: dict[str, str], tmp_path: Path
) -> None:
    candidate = artifact(Model, small_models["robust"])
    champion = champion_with(small_models, tmp_path, ())
    assert challenge.rival(candidate, champion) == Rivalry(
        champion=champion, note=challenge.NO_NAMES
    )
    named = f"{small_models['undefended']}/Format-Serving"
    assert challenge.rival(candidate, named) == Rivalry(champion=named)


def test_rows_of_accepted_classes_have_no_champion(
    challenged: Challenged, small_models: dict[str, str], tmp_path: Path
) -> None:
    champion = champion_with(small_models, tmp_path, OTHERS)
    with pytest.raises(DataError, match="other classes"):
        challenged(champion, tmp_path)
    assert challenged(champion, tmp_path, accept_classes=1) == []
    assert "other classes" in read_rivalry(str(tmp_path / "challenged")).reason


def test_the_log_says_why_a_replaced_purpose_is_not_compared(
    challenged: Challenged, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "gauntlet")
    challenged(None, tmp_path, not_compared="the purpose was replaced: x")
    assert "not compared: the purpose was replaced: x" in caplog.text
    assert "no model is served" not in caplog.text


def test_what_champion_answers_beside_the_version_stands_beside_the_rows() -> None:
    best = json.dumps({"worst_case": 0.9, "version": "17"})
    replaced = Rivalry().completed("the purpose was replaced: x", best)
    assert replaced == Rivalry(reason="the purpose was replaced: x", best=0.9, best_version="17")
    other = Rivalry(reason="other classes").completed("", json.dumps({"reason": "nothing yet"}))
    assert other == Rivalry(reason="other classes", no_best="nothing yet")
    assert Rivalry(champion="serving/1").completed("", "") == Rivalry(champion="serving/1")
