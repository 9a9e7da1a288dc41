"""The Evaluator on planted rows with a champion: TFMA judges, one tally feeds gates, summary and
card, and what could not be measured is refused."""

import dataclasses
import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_model_analysis as tfma
from answered import CLASSES, answered
from google.protobuf import json_format
from small_world import artifact
from tfx.components.util import examples_utils
from tfx.proto import example_gen_pb2
from tfx.types.standard_artifacts import Examples, Model, ModelBlessing, ModelEvaluation

from components.adversarial_example_gen.config import AttackConfig
from components.champion_challenge.rivalry import Rivalry, write_rivalry
from components.evaluator.eval_config import eval_config
from components.evaluator.executor import (
    NOT_COMPARED,
    REFUSED_BY,
    Executor,
    read_written_tally,
    with_extractors,
)
from components.evaluator.explained import read_explanations
from components.evaluator.gate import (
    Accuracy,
    Best,
    Certified,
    Disagreement,
    FailedCheck,
    Gap,
    Gate,
    Missing,
    NoWorse,
    WorstCase,
    WorstClass,
)
from components.evaluator.metrics import TALLY
from components.evaluator.tally import tally
from components.manifest import MODEL_SHA256, digest_of
from components.pusher import card_of
from components.records.checks import write_checks
from components.records.names import CLEAN
from components.records.record import Rows
from components.records.shards import shard_path, write_shard
from components.versions import PushedBy
from foundation.errors import ConfigError, RunError
from pipeline.report.accuracies import accuracies
from robustness.config import AttackName, Check, CheckName

IMAGES = 40
ATTACKS = (
    CLEAN, "fgsm@undefended", "strongest@undefended", "fgsm@robust", "strongest@robust",
    "fgsm@champion", "strongest@champion",
)  # fmt: skip
GATES: list[Gate] = [
    Accuracy(name="clean", bound=0.5, argument=(CLEAN,)),
    WorstCase(name="worst_case", bound=0.85),
    Certified(name="certified", bound=0.0),
    WorstClass(name="worst_class", bound=0.1),
    Gap(name="gap", bound=0.05),
    Missing(name="required", bound=0.0, argument=("ibp", "square")),
    Disagreement(name="served", bound=0.0),
    FailedCheck(name="proofs_hold", bound=0.0, argument=("proofs_hold",)),
    NoWorse(name="champion_clean", bound=0.025, argument=(CLEAN,)),
    NoWorse(name="champion_worst_case", bound=0.025, argument=("worst_case",)),
]
REFUSED = ["worst_case", "gap", "required", "served"]


def planted() -> tuple[Rows, np.ndarray]:
    """Rows of 40 images, and the classes that the served candidate gives.

    Image 0 is wrong without an attack; 1 is broken by the candidate's own suite; 2 by the images
    made against the champion, and by nothing else; on 3 the served model differs once.
    """
    right = {attack: [True] * IMAGES for attack in ATTACKS}
    for attack in ATTACKS:
        right[attack][0] = False
    right["strongest@robust"][1] = False
    right["strongest@champion"][2] = False
    broken_by = ["clean", "pgd", *[""] * (IMAGES - 2)]
    champion = {attack: [i > 0 for i in range(IMAGES)] for attack in ATTACKS}
    certified = [i >= 10 for i in range(IMAGES)]
    rows = answered(right, champion, certified, broken_by=broken_by)
    served = rows.predictions["robust"].copy()
    odd = np.flatnonzero((rows.id == b"003") & (rows.attack == "fgsm@robust"))
    served[odd] = 7
    return rows, served


def export_reader(folder: str) -> None:
    """A model whose answer stands in the first pixels."""

    class Reader(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
        def transformed_examples(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
            pixels = {"image": tf.io.FixedLenFeature([CLASSES], tf.float32)}
            logits = 9.0 * tf.io.parse_example(examples, pixels)["image"]
            return {"logits": logits, "probabilities": tf.nn.softmax(logits)}

    reader = Reader()
    signatures = {"transformed_examples": reader.transformed_examples}
    tf.saved_model.save(reader, f"{folder}/Format-Serving", signatures=signatures)


def evaluated(
    folder: Path,
    rows: Rows,
    served: np.ndarray,
    gates: list[Gate],
    rivalry: Rivalry | None = None,
    challenged: bool = False,
    attacked: str = "",
) -> SimpleNamespace:
    """What the Evaluator makes of rows in two shards. challenged: whether there is another artifact
    of ChampionChallenge, in the folder of that name. attacked: digest of the model in the rows."""
    if rivalry:
        write_rivalry(str(folder / "challenged"), rivalry)
    write(folder / "rows", rows, served)
    check = Check(name=CheckName.PROOFS_HOLD, passed=True, value=0.0, sentence="All proofs hold.")
    write_checks(str(folder / "rows"), [check])
    export_reader(str(folder / "model"))
    examples, more = (rows_in(folder / name) for name in ("rows", "challenged"))
    if attacked:
        examples.set_string_custom_property(MODEL_SHA256, attacked)
    model = artifact(Model, str(folder / "model"))
    evaluation = artifact(ModelEvaluation, str(folder / "evaluation"))
    blessing = artifact(ModelBlessing, str(folder / "blessing"))
    context = Executor.Context(
        beam_pipeline_args=["--runner=FnApiRunner"], tmp_dir=str(folder / "tmp"), unique_id="1"
    )
    config = json_format.MessageToJson(eval_config(gates))
    Executor(context).Do(
        {"examples": [examples], "model": [model]}
        | ({"challenged_examples": [more]} if challenged or rivalry else {}),
        {"evaluation": [evaluation], "blessing": [blessing]},
        {"eval_config": config, "example_splits": '["test"]'},
    )
    return SimpleNamespace(evaluation=evaluation.uri, blessing=blessing, model=model)


def write(folder: Path, rows: Rows, served: np.ndarray) -> None:
    """Two shards, with images on which the served candidate says that."""
    image = np.eye(CLASSES, dtype=np.float32)[served].reshape(-1, CLASSES, 1, 1)
    records = list(dataclasses.replace(rows, image=image).serialize())
    for i in range(2):
        path = shard_path(str(folder / "Split-test"), i, 2, compressed=False)
        write_shard(path, records[i::2])


def rows_in(folder: Path) -> Examples:
    examples = artifact(Examples, str(folder), split_names='["test"]')
    examples_utils.set_payload_format(examples, example_gen_pb2.PayloadFormat.FORMAT_TF_EXAMPLE)
    return examples


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """The Evaluator's outputs for `planted`; `gates`, explanations by name; `tally`."""
    made = evaluated(tmp_path_factory.mktemp("evaluated"), *planted(), GATES)
    made.gates = {gate.name: gate for gate in read_explanations(made.blessing.uri)}
    made.tally = read_written_tally(made.evaluation)
    return made


def in_two(folder: Path, rows: Rows, served: np.ndarray) -> SimpleNamespace:
    """What the Evaluator makes of the same rows as our nodes write them: those of
    AdversarialExampleGen without a word of the champion, and the champion's own, which say what it
    predicts on the others."""
    own = np.array([attack.endswith("@champion") for attack in rows.attack])
    told: dict[bytes, list[str]] = {}
    for name, attack, answer in zip(
        rows.id[~own], rows.attack[~own], rows.predictions["champion"][~own], strict=True
    ):
        told.setdefault(name, []).append(f"{attack}:{answer}")
    said = np.array([",".join(told[name]) for name in rows.id[own]], object)
    others = {name: it for name, it in rows.predictions.items() if name != "champion"}
    first = dataclasses.replace(rows, predictions=others)[~own]
    second = dataclasses.replace(rows[own], champion_on=said)
    write_rivalry(str(folder / "challenged"), Rivalry(champion="serving/1"))
    write(folder / "challenged", second, served[own])
    return evaluated(folder, first, served[~own], GATES, challenged=True)


def test_rows_in_two_artifacts_say_what_they_said_in_one(
    result: SimpleNamespace, tmp_path: Path
) -> None:
    """Digit for digit: gates, tally, and every metric of every slice."""
    made = in_two(tmp_path, *planted())
    one, two = (Path(each.blessing.uri, "gates.json").read_text() for each in (result, made))
    assert one == two
    assert read_written_tally(made.evaluation) == result.tally
    ours, theirs = metrics(made), metrics(result)
    for found in (*ours.values(), *theirs.values()):
        found.pop(TALLY)  # whose kinds have no order
    assert {key: str(it) for key, it in ours.items()} == {k: str(it) for k, it in theirs.items()}


def test_another_model_than_the_attacked_one_is_refused(tmp_path: Path) -> None:
    """Its worst case would be that of other weights."""
    with pytest.raises(RunError, match="is not the one that was judged: its files were changed"):
        evaluated(tmp_path, *planted(), GATES, attacked="0" * 64)


def test_a_comparison_that_is_lost_passes_no_gate(tmp_path: Path) -> None:
    """Neither where the file is gone that says whether there was a champion, nor its rows."""
    rows, served = planted()
    with pytest.raises(RunError, match=r"rivalry\.json is missing, so nobody knows"):
        evaluated(tmp_path / "file", rows, served, GATES, challenged=True)
    others = {name: it for name, it in rows.predictions.items() if name != "champion"}
    chosen = np.array([not attack.endswith("@champion") for attack in rows.attack])
    first = dataclasses.replace(rows, predictions=others)[chosen]
    folder = tmp_path / "rows"
    write(folder / "challenged", first, served[chosen])
    with pytest.raises(RunError, match="has no row of the champion"):
        evaluated(folder, first, served[chosen], GATES, rivalry=Rivalry(champion="serving/1"))


@pytest.mark.parametrize("challenged", [True, False])
def test_without_a_champion_the_gates_hold_only_where_one_was_looked_for(
    tmp_path: Path, challenged: bool
) -> None:
    rows, served = planted()
    others = {name: it for name, it in rows.predictions.items() if name != "champion"}
    chosen = np.array([not attack.endswith("@champion") for attack in rows.attack])
    first = dataclasses.replace(rows, predictions=others)[chosen]
    rivalry = Rivalry(reason="the candidate is the model that is served")
    write_rivalry(str(tmp_path / "challenged"), rivalry)
    made = evaluated(tmp_path, first, served[chosen], GATES[-2:-1], challenged=challenged)
    (gate,) = read_explanations(made.blessing.uri)
    assert gate.passed is (None if challenged else False)
    assert gate.not_compared == (rivalry.reason if challenged else "")


def metrics(result: SimpleNamespace) -> dict[Any, dict[str, Any]]:
    """TFMA's own results: by slice, the metrics by name."""
    slices = tfma.load_eval_result(result.evaluation).slicing_metrics
    return {key: found[""][""] for key, found in slices}


def test_gates_are_judged_on_the_tally_that_tfma_added_up(result: SimpleNamespace) -> None:
    expected = tally(*planted())
    assert result.tally == expected
    overall = metrics(result)[()]
    for gate in GATES:
        finding, explained = gate.measure(expected), result.gates[gate.name]
        assert overall[gate.name]["doubleValue"] == pytest.approx(finding.compared)
        assert explained.judged == finding.compared
        assert explained.value == finding.value
        assert explained.images_against == finding.images_against
        assert explained.refuses is not gate.holds(finding.compared)


def test_a_refusal_names_its_gates_and_images(result: SimpleNamespace) -> None:
    assert result.blessing.get_string_custom_property(REFUSED_BY).split(",") == REFUSED
    assert result.blessing.get_int_custom_property("blessed") == 0
    judged = result.blessing.get_string_custom_property(MODEL_SHA256)
    assert judged == digest_of(f"{result.model.uri}/Format-Serving")
    assert [name for name, gate in result.gates.items() if gate.refuses] == REFUSED
    assert sorted(result.gates["worst_case"].ids) == ["000", "001", "002", "003"]
    assert result.gates["worst_case"].images_to_change == 3
    assert (result.gates["clean"].passed, result.gates["clean"].ids) == (True, ["000"])
    assert result.gates["served"].sentence.startswith(
        "The served model answers otherwise than the attacked one did on 0.36% of 280 rows"
    )
    assert result.gates["proofs_hold"].sentence == "All proofs hold."
    assert result.gates["required"].sentence == "The candidate did not face square."


def test_summary_gate_and_card_have_one_number(result: SimpleNamespace) -> None:
    """Image 2 is broken by the champion's images alone, and that is in all three."""
    stages = AttackConfig(names=(AttackName.FGSM, AttackName.PGD)).stages
    robust = accuracies(result.tally, "robust", stages)
    card = card_of(result.model, result.blessing, kind=PushedBy.RUN)
    assert robust.worst_case == result.gates["worst_case"].value == card.worst_case == 0.9
    assert robust.clean == result.gates["clean"].value == card.clean == 39 / 40
    assert robust.certified == result.gates["certified"].value == card.certified == 0.75
    assert robust.transfer == {
        "fgsm": 39 / 40,
        "strongest": 39 / 40,
        "fgsm@champion": 39 / 40,
        "strongest@champion": 38 / 40,
    }
    assert robust.worst_case < robust.white_box["pgd"] == 38 / 40, "left by its own suite"
    assert (card.not_compared, card.class_names) == (None, ())
    assert result.blessing.get_string_custom_property(NOT_COMPARED) == ""


def test_slices_by_attack_and_label_work(result: SimpleNamespace) -> None:
    by_slice = metrics(result)
    for attack in ATTACKS:
        found = by_slice[(("attack", attack),)]
        assert found["example_count"]["doubleValue"] == IMAGES
        if attack != CLEAN:
            assert math.isnan(float(found["worst_case"]["doubleValue"]))
    wrong = {"strongest@robust": 2, "strongest@champion": 2, "fgsm@robust": 2}
    for attack in ATTACKS:
        share = by_slice[(("attack", attack),)]["accuracy"]["doubleValue"]
        assert share == pytest.approx(1.0 - wrong.get(attack, 1) / IMAGES)
    for label, right in ((0, 18), (1, 18)):
        found = by_slice[(("label", label),)]
        assert found["worst_case"]["doubleValue"] == pytest.approx(
            WorstCase(name="w", bound=0).measure(of_label(label)).compared
        )
        assert WorstCase(name="w", bound=0).measure(of_label(label)).value == right / 20
        assert found["example_count"]["doubleValue"] == 20 * len(ATTACKS)
    assert TALLY in by_slice[()]


def of_label(label: int) -> Any:
    """The tally of the planted images of one class."""
    rows, served = planted()
    chosen = rows.label == label
    return tally(rows[chosen], served[chosen])


def test_without_rows_nothing_passes(tmp_path: Path) -> None:
    rows, served = planted()
    gates: list[Gate] = [
        Certified(name="certified", bound=0.0),
        NoWorse(name="champion_clean", bound=0.0, argument=(CLEAN,)),
    ]
    made = evaluated(tmp_path, rows[:0], served[:0], gates)
    assert made.blessing.get_int_custom_property("blessed") == 0
    explained = read_explanations(made.blessing.uri)
    assert [gate.passed for gate in explained] == [False, False]
    assert {gate.sentence for gate in explained} == {"Nothing was measured."}
    assert [gate.value for gate in explained] == [None, None]
    assert "NaN" not in (Path(made.blessing.uri) / "gates.json").read_text()
    assert made.blessing.get_string_custom_property(REFUSED_BY) == "certified,champion_clean"


@pytest.mark.parametrize("key", ["module_file", "module_path"])
def test_a_module_of_the_users_own_is_refused(key: str) -> None:
    with pytest.raises(ConfigError, match=f"{key}='mine'"):
        with_extractors({key: "mine"})


def test_a_baseline_model_is_refused(tmp_path: Path) -> None:
    context = Executor.Context(beam_pipeline_args=[], tmp_dir=str(tmp_path), unique_id="1")
    with pytest.raises(ConfigError, match="takes no baseline_model"):
        Executor(context).Do({"baseline_model": [artifact(Model, "m")]}, {}, {})


def test_the_gates_of_an_earlier_version_are_still_read(tmp_path: Path) -> None:
    """Roots that were made before the number of images against a model was written."""
    fields = {"passed": True, "judged": 0.98, "op": ">=", "bound": 0.9, "images_to_change": None}
    fields |= {"interval": [0.98, 0.99], "ids": [], "sentence": "99.00% of 100 images."}
    earlier = [fields | {"name": name, "value": 0.99} for name in ("clean", "worst_case", "fgsm")]
    (tmp_path / "gates.json").write_text(json.dumps(earlier))
    blessing = artifact(ModelBlessing, str(tmp_path))
    assert [gate.name for gate in read_explanations(blessing.uri)] == [
        "clean", "worst_case", "fgsm",
    ]  # fmt: skip
    card = card_of(artifact(Model, "m"), blessing, kind=PushedBy.RUN)
    assert (card.clean, card.worst_case, card.certified) == (0.99, 0.99, None)


def test_a_comparison_that_could_not_be_is_told_by_gate_metadata_and_card(
    tmp_path: Path,
) -> None:
    """Never as passed alone."""
    rows = answered({CLEAN: [True] * 40})
    reason = "the champion knows other classes (cat is gone, cow is new), accepted"
    served = rows.predictions["robust"]
    made = evaluated(tmp_path, rows, served, GATES[-2:-1], Rivalry(reason=reason))
    (gate,) = read_explanations(made.blessing.uri)
    assert (gate.passed, gate.not_compared) == (None, reason)
    assert gate.sentence == f"Not compared: {reason}."
    assert made.blessing.get_string_custom_property(NOT_COMPARED) == reason
    assert card_of(made.model, made.blessing).not_compared == reason


@pytest.mark.parametrize(
    ("rivalry", "passed"),
    [
        (Rivalry(best=0.92, best_version="17"), True),
        (Rivalry(best=0.98, best_version="17"), False),
        (Rivalry(no_best="nothing was pushed"), None),
        (Rivalry(), False),
    ],
    ids=["near", "far", "none", "nobody-looked"],
)
def test_the_best_worst_case_of_the_challenge_decides_the_blessing(
    tmp_path: Path, rivalry: Rivalry, passed: bool | None
) -> None:
    """What is right in the worst case on 36 of 40 images loses up to two points to the best."""
    rows, served = planted()
    found = evaluated(tmp_path, rows, served, [Best(name="best", bound=0.02)], rivalry)
    (best,) = read_explanations(found.blessing.uri)
    assert best.passed is passed
    assert bool(found.blessing.get_int_custom_property("blessed")) == (passed is not False)
    assert found.blessing.get_string_custom_property(NOT_COMPARED) == ""
    assert card_of(artifact(Model, str(tmp_path / "model")), found.blessing).not_compared is None
