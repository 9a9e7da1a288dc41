"""The command line on real MNIST, from data to push: the `smoke` preset, and what happens around
it."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from components.records.table import read_examples

pytestmark = pytest.mark.slow


def gauntlet(*arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run the installed command line."""
    return subprocess.run(command(arguments), cwd=cwd, capture_output=True, text=True, timeout=600)


def command(arguments: Sequence[str | Path]) -> list[str]:
    return [str(Path(sys.executable).parent / "gauntlet"), *map(str, arguments)]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("Läufe (neu) 猫")


@pytest.fixture(scope="module")
def first(root: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Summary of one smoke run, started from a folder with a misleading name in it."""
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    for name in ("trainer", "components", "kubeflow"):
        (elsewhere / name).mkdir()
        (elsewhere / name / "__init__.py").write_text("raise ImportError('the wrong package')")
    done = gauntlet(
        "run", "--preset", "smoke", "--root", root, "--json", elsewhere / "out.json", cwd=elsewhere
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads((elsewhere / "out.json").read_text())


def test_summary_has_the_promised_keys(first: dict[str, Any], root: Path) -> None:
    keys = "run_id preset dataset seed threat suite attacks examples models checks gates "
    keys += "serving_problems blessed withdrawn pushed nodes seconds"
    assert set(keys.split()) <= set(first)
    assert first["examples"] == {"train": 3000, "validation": 500, "test": 500}
    assert first["threat"] == {"norm": "linf", "epsilon": 0.2}
    for result in first["models"].values():
        assert set(result) == {
            "clean",
            "transfer",
            "white_box",
            "worst_case",
            "certified",
            "certified_by",
        }
        assert set(result["transfer"]) == {"fgsm", "strongest"}
        assert list(result["white_box"]) == ["fgsm", "pgd"]
        assert list(result["certified_by"]) == ["ibp", "crown", "alpha-crown"]
        accuracies = [result["clean"], *result["transfer"].values(), *result["white_box"].values()]
        assert 0 <= result["certified"] <= result["worst_case"] <= min(accuracies)
        assert result["white_box"]["pgd"] <= result["white_box"]["fgsm"]
        proofs = list(result["certified_by"].values())
        assert proofs == sorted(proofs)
        assert result["certified"] == proofs[-1]
    assert first["attacks"] == {
        "fgsm": {"steps": 1, "restarts": 1, "step_size": 0.2},
        "pgd": {"steps": 20, "restarts": 1, "step_size": pytest.approx(0.025)},
    }
    assert first["blessed"]
    assert json.loads((root / "results" / first["run_id"] / "summary.json").read_text()) == first
    for picture in ("attacked.png", "training.png"):
        assert (root / "results" / first["run_id"] / picture).stat().st_size > 10_000
    assert [len(first["training"][model]["epochs"]) for model in ("undefended", "robust")] == [2, 2]
    assert first["training"]["robust"]["epochs"][1]["val_clean"] > 0.8


def test_gates_judge_what_the_table_shows(first: dict[str, Any]) -> None:
    """One number everywhere: TFMA's tally, on the answers of the served signature."""
    robust = first["models"]["robust"]
    shown = {name: robust[name] for name in ("clean", "worst_case", "certified")}
    shown["transfer_fgsm"] = robust["transfer"]["fgsm"]
    assert {g["name"]: g["value"] for g in first["gates"] if g["name"] in shown} == pytest.approx(
        shown, abs=1e-6
    )
    for gate in first["gates"]:
        there_is_no_champion = gate["name"].startswith("champion_")
        only_reported = (gate["op"], gate["bound"]) == (">=", 0.0)
        assert gate["passed"] is (None if there_is_no_champion or only_reported else True)
        assert bool(gate["not_compared"]) == there_is_no_champion
        assert gate["images_to_change"] is None
        assert len(gate["ids"]) == min(gate["images_against"] or 0, 100)
        if gate["interval"]:
            assert gate["interval"][0] <= gate["value"] <= gate["interval"][1]
            assert gate["judged"] == pytest.approx(gate["interval"][0])


def test_the_images_that_a_run_leaves_are_those_of_its_gates(
    first: dict[str, Any], root: Path, tmp_path: Path
) -> None:
    robust = first["models"]["robust"]
    found = read_examples(root / "results" / first["run_id"] / "examples.csv")
    assert len(found) == 500
    counts = {
        "clean": sum(each.prediction == each.label for each in found),
        "worst_case": sum(not each.broken_by for each in found),
        "certified": sum(each.certified for each in found),
    }
    assert {name: count / 500 for name, count in counts.items()} == pytest.approx(
        {name: robust[name] for name in counts}
    )
    file = tmp_path / "gate.json"
    shown = ("show", first["run_id"], "--gate", "worst_case", "--root", root, "--json", file)
    done = gauntlet(*shown, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    gate = json.loads(file.read_text())
    assert Path(gate["picture"]).stat().st_size > 10_000
    assert [each["id"] for each in gate["images"]] == gate["gate"]["ids"][:32]
    broken = {each.id: each.broken_by for each in found}
    assert all(broken[each["id"]] for each in gate["images"])
    assert all(each["attacked_prediction"] != each["label"] for each in gate["images"])


def test_the_pushed_model_serves_png_images(first: dict[str, Any]) -> None:
    """Loaded as a stranger would, it is about as accurate as the summary says."""
    import tensorflow as tf
    import tensorflow_datasets as tfds

    raw = {"image": tfds.decode.SkipDecoding()}
    rows = list(tfds.as_numpy(tfds.load("mnist", split="test[:500]", decoders=raw)))
    model = tf.saved_model.load(first["pushed"])
    answer = model.signatures["serving_default"](image=tf.constant([row["image"] for row in rows]))
    right = answer["class"].numpy() == [row["label"] for row in rows]
    assert np.mean(right) == pytest.approx(first["models"]["robust"]["clean"], abs=1e-6)
    np.testing.assert_allclose(answer["probabilities"].numpy().sum(axis=1), 1.0, rtol=1e-5)


def test_a_second_run_computes_only_what_depends_on_the_change_and_can_refuse(
    first: dict[str, Any], root: Path, tmp_path: Path
) -> None:
    versions = sorted(os.listdir(root / "serving"))
    arguments = [
        "--set",
        "gates.worst_case=0.99",
        "--set",
        "gates.certified=0.98",
        "--json",
        tmp_path / "s.json",
    ]
    done = gauntlet("run", "--preset", "smoke", "--root", root, *arguments, cwd=tmp_path)
    summary = json.loads((tmp_path / "s.json").read_text())
    assert done.returncode == 3
    assert "Refused by worst_case, certified" in done.stdout
    assert "more images must be classified correctly to pass" in done.stdout
    assert (summary["blessed"], summary["pushed"]) == (False, None)
    refused = [g for g in summary["gates"] if g["passed"] is False]
    assert [g["name"] for g in refused] == ["worst_case", "certified"]
    worst_case = summary["models"]["robust"]["worst_case"]
    against = refused[0]["images_against"]
    assert against == round(500 * (1 - worst_case)) >= refused[0]["images_to_change"] > 0
    assert len(set(refused[0]["ids"])) == min(against, 100)
    assert all(identity.startswith("mnist-test.tfrecord-") for identity in refused[0]["ids"])
    # The first run had no champion; now the candidate is the champion, which TFX sees as another
    # input. The gates are known to AnomalyGate too, which says what few images cannot pass.
    ran = {name for name, node in summary["nodes"].items() if not node["cached"]}
    assert ran == {"AnomalyGate", "Champion", "ChampionChallenge", "Evaluator", "Pusher"}
    assert summary["models"] == first["models"]
    assert sorted(os.listdir(root / "serving")) == versions


@pytest.mark.e2e
def test_a_killed_run_is_continued(first: dict[str, Any], root: Path, tmp_path: Path) -> None:
    """Killed in the attack node: the next run takes the finished nodes from the cache and mends the
    metadata."""
    setting = ["--set", "attack.names=fgsm,pgd-margin"]
    arguments = [
        "run",
        "--preset",
        "smoke",
        "--root",
        root,
        *setting,
        "--json",
        tmp_path / "s.json",
    ]
    process = subprocess.Popen(
        command(arguments), cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    deadline = time.monotonic() + 120
    folders = root / "artifacts" / "AdversarialExampleGen" / "adversarial_examples"
    before = set(os.listdir(folders))
    while not (started := set(os.listdir(folders)) - before) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = gauntlet(*arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    summary = json.loads((tmp_path / "s.json").read_text())
    ran = {name for name, node in summary["nodes"].items() if not node["cached"]}
    # What is served is what it was at the run before, so Champion's answer is in the cache.
    assert ran == {"AdversarialExampleGen", "ChampionChallenge", "Evaluator", "Pusher"}
    assert not started & set(os.listdir(folders)), (
        "what the killed run had half written is still there"
    )


@pytest.mark.e2e
def test_the_default_preset_on_few_images(tmp_path: Path) -> None:
    """Its network, recipe and suite, through to a model that Keras loads where this package is not
    imported."""
    small = {
        "data.train": "train[:1000]",
        "data.validation": "train[55000:55100]",
        "data.test": "test[:40]",
    }
    small |= {f"gates.{gate}": "0" for gate in ("clean", "worst_case", "certified")} | {
        "trainer.epochs": "1"
    }
    small |= {
        "gates.gap": "1",
        "gates.worst_class": "0",
        "gates.checks": "",
        "attack.checks": "false",
    }
    settings = [part for name, value in small.items() for part in ("--set", f"{name}={value}")]
    done = gauntlet(
        "run", *settings, "--root", tmp_path, "--json", tmp_path / "s.json", cwd=tmp_path
    )
    assert done.returncode == 0, done.stdout + done.stderr
    summary = json.loads((tmp_path / "s.json").read_text())
    assert (summary["preset"], summary["suite"]) == ("robust", "autoattack")
    assert list(summary["models"]["robust"]["certified_by"]) == [
        "ibp",
        "crown",
        "alpha-crown",
        "branch-and-bound",
    ]
    code = (
        "import sys, tf_keras\n"
        "print(tf_keras.models.load_model(sys.argv[1], compile=False).count_params())"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", code, summary["pushed"]],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert loaded.stdout.strip() == "473130", loaded.stderr


@pytest.mark.e2e
def test_data_that_breaks_the_schema_ends_the_run_before_training(tmp_path: Path) -> None:
    """A prepared folder that calls itself MNIST, with images of 20 x 20 and two classes more."""
    import tensorflow_datasets as tfds

    class Mnist(
        tfds.core.GeneratorBasedBuilder, skip_registration=True
    ):  # the real one has the name already
        VERSION = tfds.core.Version("3.0.1")
        pkg_dir_path = tmp_path

        def _info(self) -> tfds.core.DatasetInfo:
            image, label = (
                tfds.features.Image(shape=(20, 20, 1)),
                tfds.features.ClassLabel(num_classes=12),
            )
            return tfds.core.DatasetInfo(
                builder=self, features=tfds.features.FeaturesDict({"image": image, "label": label})
            )

        def _split_generators(self, _: Any) -> dict[str, Any]:
            return {"train": self._generate_examples(60), "test": self._generate_examples(20)}

        def _generate_examples(self, n: int) -> Any:
            for i in range(n):
                yield (
                    i,
                    {"image": np.zeros((20, 20, 1), np.uint8), "label": i % 12},
                )

    Mnist(data_dir=str(tmp_path / "data")).download_and_prepare()
    splits = [
        "--set",
        "data.train=train[:50]",
        "--set",
        "data.validation=train[50:]",
        "--set",
        "data.test=test",
    ]
    arguments = [
        "--preset",
        "smoke",
        *splits,
        "--data-dir",
        tmp_path / "data",
        "--root",
        tmp_path / "root",
    ]
    done = gauntlet("run", *arguments, cwd=tmp_path)
    assert done.returncode == 4
    assert "the data breaks the schema, nothing was trained" in done.stderr
    for feature in ("height", "width", "label"):
        assert f", feature {feature}: " in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "root" / "artifacts" / "Transform").exists()


@pytest.mark.e2e
def test_both_orchestrators_give_the_same_numbers(first: dict[str, Any], tmp_path: Path) -> None:
    arguments = [
        "--orchestrator",
        "beam",
        "--root",
        tmp_path / "root",
        "--json",
        tmp_path / "s.json",
    ]
    done = gauntlet("run", "--preset", "smoke", *arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads((tmp_path / "s.json").read_text())["models"] == first["models"]


@pytest.mark.e2e
def test_two_workers_go_on_from_the_champion(
    first: dict[str, Any], root: Path, tmp_path: Path
) -> None:
    """The whole pipeline with two training processes, which begin with the weights that the first
    run pushed."""
    options = [
        "data.train=train[:1000]",
        "trainer.warm_start=true",
        "trainer.strategy=multi_worker",
        "trainer.workers=2",
        "trainer.epochs=1",
        "attack.names=fgsm,pgd-margin",  # what another test may have bound the root to
    ]
    arguments = ["run", "--preset", "smoke", "--root", root, "--json", tmp_path / "s.json"]
    arguments += [part for option in options for part in ("--set", option)]
    done = gauntlet(*arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    summary = json.loads((tmp_path / "s.json").read_text())
    log = (root / "results" / summary["run_id"] / "log.txt").read_text()
    assert "training on 2 workers" in log
    assert "beginning with the weights of" in log
    assert "on 2 replicas, batches of 64" in log
    first_epochs = [run["training"]["robust"]["epochs"][0]["val_clean"] for run in (first, summary)]
    assert first_epochs[1] > first_epochs[0], "a warm start is ahead of a cold one"


@pytest.mark.e2e
def test_spans_of_colour_images(tmp_path: Path) -> None:
    """Three classes of 16 x 12 colour images, told apart by where a band lies, in the layout of
    ImageFolder, for a network of the user's own and a search of its recipe; and a second delivery
    of images, taken with a lamp on."""
    (tmp_path / "mine.py").write_text(
        "import tf_keras\n"
        "def tiny(shape, classes):\n"
        "    layers = tf_keras.layers\n"
        "    return tf_keras.Sequential([layers.Input(shape), layers.Flatten(), "
        "layers.Dense(classes)])\n"
    )
    deliver(tmp_path / "pets" / "span-1", light=0)
    settings = [
        "data.dataset=./pets",
        "trainer.network=mine:tiny",
        "trainer.batch_size=8",
        "trainer.epochs=8",
    ]
    arguments = [
        part for setting in (*settings, "tuner.epochs=1") for part in ("--set", setting)
    ] + ["--tune", "2"]
    arguments += [
        "--data-dir",
        tmp_path / "data",
        "--root",
        tmp_path / "root",
        "--json",
        tmp_path / "s.json",
    ]
    done = gauntlet("run", "--preset", "smoke", *arguments, cwd=tmp_path)
    assert done.returncode in (0, 3), done.stdout + done.stderr
    assert "Search on the validation split" in done.stdout
    summary = json.loads((tmp_path / "s.json").read_text())
    assert summary["examples"] == {"train": 165, "validation": 15, "test": 60}
    assert summary["models"]["undefended"]["clean"] > 0.9
    trials = summary["tuning"]["trials"]
    assert [trial["chosen"] for trial in trials] == [True, False]
    assert {"recipe.multiplier", "recipe.step_size", "trainer.learning_rate"} == set(
        trials[0]["values"]
    )
    results = tmp_path / "root" / "results" / summary["run_id"]
    assert (results / "front.png").stat().st_size > 10_000
    assert "min: 16" in (results / "schema.pbtxt").read_text()
    config = json.loads((results / "config.json").read_text())["data"]
    assert (config["image_shape"], config["classes"], config["span"]) == ([16, 12, 3], 3, 1)

    deliver(tmp_path / "pets" / "span-2", light=20)
    done = gauntlet("run", "--preset", "smoke", *arguments, cwd=tmp_path)
    assert done.returncode == 4
    assert (
        "the data is no longer what it was (span 2, compared with span 1), nothing was trained"
        in done.stderr
    )
    assert "feature brightness: drift" in done.stderr
    assert "feature label" not in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.e2e
def test_a_class_that_gave_way_to_another(tmp_path: Path) -> None:
    """The model that knows a cat must not be judged on cows: the second delivery, of the same
    images, ends the run, and where it is accepted, nothing calls that a comparison."""
    deliver(tmp_path / "pets" / "span-1", light=0)
    deliver(tmp_path / "pets" / "span-2", light=0, labels=("cow", "dog", "fox"))
    settings = [
        "data.dataset=./pets", "trainer.filters=4", "trainer.batch_size=8", "attack.names=fgsm",
        *(f"gates.{gate}=0" for gate in ("clean", "worst_case", "certified", "transfer_fgsm")),
    ]  # fmt: skip
    arguments = ["run", "--preset", "smoke", "--root", tmp_path / "root"]
    arguments += ["--data-dir", tmp_path / "data", "--json", tmp_path / "s.json"]
    arguments += [part for setting in settings for part in ("--set", setting)]
    done = gauntlet(*arguments, "--span", "1", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    first = json.loads((tmp_path / "s.json").read_text())
    assert first["class_names"] == ["cat", "dog", "fox"]

    for option in ((), ("--accept-classes",)):
        done = gauntlet(*arguments, *option, cwd=tmp_path)
        assert done.returncode == 2
        said = " ".join(done.stderr.split())
        assert "cat is gone, cow is new" in said
        assert '--replace --reason "..."' in said
        assert "Traceback" not in said
    assert len(os.listdir(tmp_path / "root" / "results")) == 1, "nothing was begun"

    done = gauntlet(*arguments, "--replace", "--reason", "cows now", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    second = json.loads((tmp_path / "s.json").read_text())
    reason = "the purpose was replaced: the classes are others: cat is gone, cow is new"
    compared = [gate for gate in second["gates"] if gate["name"].startswith("champion")]
    assert {gate["not_compared"] for gate in compared} == {reason}
    assert f"Not compared: {reason}" in " ".join(done.stdout.split())
    assert second["caveats"][0] == (
        "Other classes than the last span's were accepted: cat is gone, cow is new."
    )
    card = json.loads(Path(second["pushed"], "assets.extra/gauntlet.json").read_text())
    assert (card["class_names"], card["not_compared"]) == (["cow", "dog", "fox"], reason)
    assert (card["kind"], card["reason"]) == ("replaced", "cows now")
    assert card["terms"]["purpose"]["dataset"] == "pets"
    terms = (tmp_path / "root" / "serving" / "gates.toml").read_text()
    assert 'class_names = ["cow", "dog", "fox"]' in terms

    image = tmp_path / "pets" / "span-2" / "test" / "dog" / "0.png"
    answers = ["predict", image, "--root", tmp_path / "root", "--json", tmp_path / "answers.json"]
    done = gauntlet(*answers, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    (answer,) = json.loads((tmp_path / "answers.json").read_text())["answers"]
    assert answer["label"] == ["cow", "dog", "fox"][answer["class"]]


def deliver(folder: Path, light: int, labels: Sequence[str] = ("cat", "dog", "fox")) -> None:
    """Write a folder of images."""
    from PIL import Image

    rng = np.random.default_rng(light)
    for split, count in (("train", 60), ("test", 20)):
        for place, label in enumerate(labels):
            (folder / split / label).mkdir(parents=True)
            for i in range(count):
                pixels = rng.integers(light, 90 + light, (16, 12, 3), dtype=np.uint8)
                pixels[4 * place + 1 : 4 * place + 5] += 140
                Image.fromarray(pixels).save(
                    folder / split / label / f"{i}.{'jpg' if i % 2 else 'png'}"
                )
