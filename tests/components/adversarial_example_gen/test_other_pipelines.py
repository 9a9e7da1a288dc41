"""AdversarialExampleGen on what other people's pipelines have: any models, plain examples."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jaxtyping
import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from small_exports import linear_model, signature_model
from small_world import artifact, small_images
from tfx.types.standard_artifacts import Examples, Model

from components.adversarial_example_gen.config import AttackConfig, AttackTask
from components.adversarial_example_gen.executor import Executor, read_task
from components.records.names import CLEAN, FGSM, ROBUST, STRONGEST, Origin
from components.records.record import Rows, read_rows
from components.records.shards import list_shards, shard_path, write_shard
from components.records.writer import read_written
from foundation.errors import DataError, RunError
from robustness.attacks.attacker import Attacker
from robustness.config import Attack, AttackName, ThreatModel
from robustness.evaluation import Judge

pytestmark = pytest.mark.usefixtures("in_memory_beam")

TASK = AttackTask(
    split="eval",
    threat=ThreatModel(epsilon=0.1),
    attack=AttackConfig(names=(AttackName.FGSM,), checks=False),
    seed=3,
)
IMAGES = 30
Attacked = Callable[..., Rows]


@pytest.fixture
def attacked(tmp_path: Path) -> Attacked:
    """Runs the node; gives the rows that it wrote. models: by name, a folder each."""

    def run(models: dict[str, str], records: list[bytes]) -> Rows:
        for i in range(3):  # the last one stays empty, as a hash may leave it
            path = shard_path(str(tmp_path / "Split-eval"), i, 3, compressed=True)
            write_shard(path, records[i::2] if i < 2 else [])
        inputs = {name: [artifact(Model, uri)] for name, uri in models.items()}
        inputs["examples"] = [artifact(Examples, str(tmp_path), split_names='["eval"]')]
        output = artifact(Examples, str(tmp_path / "attacked"))
        context = Executor.Context(beam_pipeline_args=[], tmp_dir=str(tmp_path), unique_id="1")
        Executor(context).Do(inputs, {"adversarial_examples": [output]}, TASK.to_properties())
        assert read_task(output.uri) == TASK
        shards = list_shards(f"{output.uri}/Split-eval")
        assert read_written(output.uri).shards == len(shards) == 3
        return Rows.concatenate(list(read_rows(shards, 1000, (8, 8, 1))))

    return run


@pytest.fixture
def records() -> list[bytes]:
    """Examples with an image and a label, and no more."""
    return [plain(image, int(label)) for image, label in zip(*small_images(IMAGES, 4), strict=True)]


def plain(image: np.ndarray, label: int) -> bytes:
    example = tf.train.Example()
    example.features.feature["image"].bytes_list.value.append(tf.io.encode_png(image).numpy())
    example.features.feature["label"].int64_list.value.append(label)
    return example.SerializeToString()


def test_one_model_is_attacked_as_the_judge_attacks_it(
    attacked: Attacked, records: list[bytes], tmp_path: Path
) -> None:
    uri = linear_model(tmp_path / "model")
    rows = attacked({ROBUST: uri}, records)
    assert rows.predictions.keys() == rows.broken_by.keys() == {ROBUST}
    own = [str(Origin(attack, ROBUST)) for attack in (FGSM, STRONGEST)]
    by_attack = {attack: rows[rows.attack == attack] for attack in (CLEAN, *own)}
    assert len(rows) == 3 * IMAGES
    clean = by_attack[CLEAN]
    assert clean.id.tolist()[:2] == [b"data_tfrecord-00000-of-00003.gz__%d" % i for i in range(2)]
    network = tf_keras.models.load_model(f"{uri}/Format-Serving", compile=False)
    judge = Judge(network, TASK.threat, TASK.attack.stages, (8, 8, 1))
    verdict = judge.judge(clean.image, clean.label, clean.id.tolist(), TASK.seed)
    assert clean.predictions[ROBUST].tolist() == verdict.prediction.tolist()
    assert clean.broken_by[ROBUST].tolist() == verdict.broken_by.tolist()
    assert clean.certified_by[ROBUST].tolist() == verdict.certified_by.tolist()
    np.testing.assert_allclose(by_attack[own[1]].image, verdict.x_adv, atol=1e-6)


def test_models_of_any_kind_see_each_others_images(
    attacked: Attacked, records: list[bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A signature narrows the unknown sizes of what it gets while TensorFlow traces it, which the
    # checks of shapes in signatures take for another image.
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    network = tf_keras.models.load_model(
        f"{linear_model(tmp_path / 'keras')}/Format-Serving", compile=False
    )
    models = {
        ROBUST: linear_model(tmp_path / "one", softmax=True),
        "first_try": signature_model(tmp_path / "two", network),
        "second_try": linear_model(tmp_path / "three"),
    }
    rows = attacked(models, records)
    attacks = {f"{attack}@{model}" for model in models for attack in (FGSM, STRONGEST)}
    assert set(rows.attack) == attacks | {CLEAN}
    assert len(rows) == 7 * IMAGES
    assert rows.predictions.keys() == models.keys()
    # The same weights in three forms: with a softmax, without Keras, as they are.
    one, two, three = (rows.predictions[model].tolist() for model in models)
    assert one == two == three


def test_an_fgsm_that_leaves_its_ball_is_an_error(
    attacked: Attacked, records: list[bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not as an attack of the suite, which the judge looks at: as the row that every image has."""
    calls: list[Attack] = []
    run = Attacker.run

    def too_far(self: Attacker, attack: Attack, x: np.ndarray, *rest: Any) -> np.ndarray:
        calls.append(attack)
        return run(self, attack, x, *rest) if len(calls) % 2 else np.clip(x + 0.2, 0, 1)

    monkeypatch.setattr(Attacker, "run", too_far)
    with pytest.raises(RunError, match=r"attacked images lie outside the linf ball of radius 0\.1"):
        attacked({ROBUST: linear_model(tmp_path / "model")}, records)


def test_an_empty_split_is_an_error(attacked: Attacked, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="there is no image to attack"):
        attacked({ROBUST: linear_model(tmp_path / "model")}, [])


def test_images_of_another_shape_are_an_error(attacked: Attacked, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"expected images of shape \(8, 8, 1\)"):
        attacked({ROBUST: linear_model(tmp_path / "model")}, [plain(np.zeros((9, 9, 1), "u1"), 0)])
