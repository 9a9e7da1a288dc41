"""ChampionChallenge on the small world: what it adds to the rows, and when there is no champion."""

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
from components.champion_challenge import executor as challenge
from components.champion_challenge.rivalry import Rivalry, read_rivalry
from components.pusher import publish
from components.records.checks import read_checks
from components.records.names import CLEAN
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
    def run(champion: str | None, folder: Path, accept_classes: int = 0) -> list[tf.train.Example]:
        inputs = {name: [artifact(Model, uri)] for name, uri in small_models.items()}
        inputs |= {"adversarial_examples": [attacked]}
        inputs |= {"_Champion.version": [artifact(String, str(folder))]}  # as TFX hands it over too
        output = artifact(Examples, str(folder / "challenged"))
        context = challenge.Executor.Context(
            beam_pipeline_args=[], tmp_dir=str(folder / "tmp"), unique_id="1"
        )
        properties = PROPERTIES | {"champion": champion or "", "accept_classes": accept_classes}
        challenge.Executor(context).Do(inputs, {"challenged_examples": [output]}, properties)
        assert read_checks(output.uri) == read_checks(attacked.uri)
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
    rows: list[tf.train.Example], small_models: dict[str, str]
) -> None:
    attacks = {column(row, "attack").decode() for row in rows}
    assert len(rows) == 7 * EXAMPLES
    assert attacks >= {CLEAN, "fgsm@champion", "strongest@champion", "strongest@robust"}
    network = tf_keras.models.load_model(
        f"{small_models['undefended']}/Format-Serving", compile=False
    )
    answers = (
        network(np.stack([pixels(row) for row in rows]).reshape(-1, 8, 8, 1)).numpy().argmax(axis=1)
    )
    assert [column(row, "prediction_champion") for row in rows] == answers.tolist()
    clean = {column(row, "id"): row for row in rows if column(row, "attack") == CLEAN.encode()}
    for row in rows:
        if not column(row, "attack").endswith(b"@champion"):
            continue
        original = clean[column(row, "id")]
        assert np.abs(pixels(row) - pixels(original)).max() <= 0.16 + 1e-6
        assert column(row, "label") == column(original, "label")
        assert (column(row, "norm"), column(row, "epsilon")) == (b"linf", pytest.approx(0.16))
        assert column(row, "certified_by_robust") == column(original, "certified_by_robust")


def test_attacks_on_the_champion_are_those_on_the_same_model(
    rows: list[tf.train.Example],
) -> None:
    """It is the undefended model, and faces the same seeds: the same images must come out."""
    known = {(column(row, "id"), column(row, "attack")): row for row in rows}
    for (identity, name), row in known.items():
        if name.endswith(b"@champion"):
            twin = known[identity, name.replace(b"@champion", b"@undefended")]
            np.testing.assert_allclose(pixels(row), pixels(twin), atol=1e-6)
            assert column(row, "prediction_robust") == column(twin, "prediction_robust")


@pytest.mark.parametrize("who", ["nobody", "itself", "another shape"])
def test_without_a_rival_the_rows_stay_as_they_are(
    challenged: Challenged,
    attacked: Examples,
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
    assert {column(row, "prediction_champion") for row in rows} == {-1}
    for row in rows:
        del row.features.feature["prediction_champion"]
    before = read_rows(f"{attacked.uri}/Split-test")
    assert sorted(row.SerializeToString(deterministic=True) for row in rows) == sorted(
        row.SerializeToString(deterministic=True) for row in before
    )


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
    rows = challenged(champion, tmp_path, accept_classes=1)
    assert {column(row, "prediction_champion") for row in rows} == {-1}
    assert "other classes" in read_rivalry(str(tmp_path / "challenged")).reason


def test_what_champion_answers_beside_the_version_stands_beside_the_rows() -> None:
    best = json.dumps({"worst_case": 0.9, "version": "17"})
    replaced = Rivalry().completed("the purpose was replaced: x", best)
    assert replaced == Rivalry(reason="the purpose was replaced: x", best=0.9, best_version="17")
    other = Rivalry(reason="other classes").completed("", json.dumps({"reason": "nothing yet"}))
    assert other == Rivalry(reason="other classes", no_best="nothing yet")
    assert Rivalry(champion="serving/1").completed("", "") == Rivalry(champion="serving/1")
