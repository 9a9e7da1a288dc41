"""`gauntlet deploy --target kserve`, and which versions may be deployed at all."""

import dataclasses
import json
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result
from gauntlet_kubeflow.deploy.request import RUNTIME_VERSION
from pushed_versions import PASSED, push

from components.versions import Card, PushedBy
from gauntlet.cli import main

FORCED = dataclasses.replace(PASSED, kind=PushedBy.FORCED, by="ada", refused_by="worst_case")
STORE = ("--model-uri", "gs://bucket/serving")


def deploy(root: Path | None, *options: str) -> Result:
    place = ("--root", str(root)) if root else ()
    arguments = ["deploy", "--target", "kserve", *place, *options]
    return CliRunner().invoke(main, arguments, env={"COLUMNS": "200"})


def test_the_manifest_field_by_field(tmp_path: Path) -> None:
    push(tmp_path, "17")
    options = ("--name", "digits", "--namespace", "ml", "--cpu", "500m", "--memory", "4Gi")
    done = deploy(tmp_path, *STORE, *options, "--service-account", "reader", "--print")
    assert done.exit_code == 0, done.output
    quantities = {"cpu": "500m", "memory": "4Gi"}
    assert yaml.safe_load(done.stdout) == {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {
            "name": "digits",
            "namespace": "ml",
            "annotations": {
                "gauntlet/version": "17",
                "gauntlet/run-id": "20261127-080000-123456",
                "gauntlet/clean": "0.97",
                "gauntlet/worst-case": "0.8312",
            },
        },
        "spec": {
            "predictor": {
                "model": {
                    "modelFormat": {"name": "tensorflow", "version": "2"},
                    "runtimeVersion": "2.21.0",
                    "storageUri": "gs://bucket/serving",
                    "resources": {"requests": quantities, "limits": quantities},
                },
                "serviceAccountName": "reader",
            }
        },
    }


def test_the_server_is_of_the_tensorflow_that_writes_the_models() -> None:
    assert version("tensorflow") == RUNTIME_VERSION


def test_into_a_file_and_not_on_the_terminal(tmp_path: Path) -> None:
    push(tmp_path, "17")
    file = tmp_path / "service.yaml"
    done = deploy(tmp_path, *STORE, "--output", str(file))
    assert done.exit_code == 0, done.output
    assert done.stdout == ""
    assert f"wrote {file}" in done.output
    assert yaml.safe_load(file.read_text())["kind"] == "InferenceService"
    done = deploy(tmp_path, *STORE, "--output", str(file), "--print")
    assert done.stdout == file.read_text()


@pytest.mark.parametrize(
    "uri",
    ["gs://b/serving", "gs://b/serving/", "s3://b/serving/18", "pvc://claim/serving/18/"],
)
def test_the_folder_of_versions_is_what_kserve_copies(tmp_path: Path, uri: str) -> None:
    push(tmp_path, "9")
    push(tmp_path, "18")
    done = deploy(tmp_path, "--model-uri", uri)
    assert done.exit_code == 0, done.output
    manifest = yaml.safe_load(done.stdout)
    folder = uri.rstrip("/").removesuffix("/18")
    assert manifest["spec"]["predictor"]["model"]["storageUri"] == folder
    assert manifest["metadata"]["annotations"]["gauntlet/version"] == "18"


def test_a_version_that_is_not_the_newest_would_not_be_served(tmp_path: Path) -> None:
    push(tmp_path, "9")
    push(tmp_path, "18")
    done = deploy(tmp_path, "--model-uri", "gs://b/serving/9")
    assert done.exit_code == 2
    assert "version 9 is not the newest in gs://b/serving" in done.output
    assert "`gauntlet rollback`" in done.output


@pytest.mark.parametrize(
    ("card", "message"),
    [
        (None, "version 17 has no card that could be read"),
        (Card(), "version 17 has no card that could be read"),
        (FORCED, "version 17 was pushed by force: worst_case refused it; say --force if"),
        (
            dataclasses.replace(FORCED, kind=PushedBy.ROLLBACK, of="9"),
            "version 17 was pushed by force: worst_case refused it",
        ),
        (
            dataclasses.replace(FORCED, refused_by=None),
            "version 17 was pushed by force; say --force if",
        ),
    ],
    ids=["no card", "empty", "forced", "back to a forced one", "a blessing withdrawn"],
)
def test_a_version_that_no_gate_let_pass(tmp_path: Path, card: Card | None, message: str) -> None:
    push(tmp_path, "17", card)
    done = deploy(tmp_path, *STORE)
    assert done.exit_code == 2
    assert done.stdout == ""
    assert message in done.output
    assert deploy(tmp_path, *STORE, "--force").exit_code == 0


def test_a_rollback_to_a_model_that_passed_may_be_deployed(tmp_path: Path) -> None:
    push(tmp_path, "17", dataclasses.replace(PASSED, kind=PushedBy.ROLLBACK, of="9", by="ada"))
    assert deploy(tmp_path, *STORE).exit_code == 0


@pytest.mark.parametrize("uri", ["s3://b/serving/17", "pvc://claim/serving/17"])
def test_a_store_that_cannot_be_read_from_here(uri: str) -> None:
    done = deploy(None, "--model-uri", uri)
    assert done.exit_code == 2
    assert "name its pipeline with --root, or say --force" in done.output
    done = deploy(None, "--model-uri", uri, "--force")
    assert done.exit_code == 0, done.output
    model = yaml.safe_load(done.stdout)["spec"]["predictor"]["model"]
    assert model["storageUri"] == uri.removesuffix("/17")
    assert "cannot be listed from here: TensorFlow Serving takes its newest version" in done.stderr


def test_what_is_said_beside_the_manifest_is_json_or_nothing() -> None:
    uri = ("--model-uri", "pvc://claim/serving/17", "--force")
    (line,) = deploy(None, *uri, "--log-json").stderr.splitlines()
    assert "cannot be listed from here" in json.loads(line)["message"]
    quiet = deploy(None, *uri, "--quiet")
    assert (quiet.exit_code, quiet.stderr) == (0, "")
    assert yaml.safe_load(quiet.stdout)["kind"] == "InferenceService"


def test_there_a_version_must_be_named() -> None:
    done = deploy(None, "--model-uri", "pvc://claim/serving")
    assert done.exit_code == 2
    assert "cannot be listed from here; name one, pvc://claim/serving/VERSION" in done.output


@pytest.mark.parametrize("options", [(), ("--model-uri", "{root}/serving/17")])
def test_a_folder_of_this_machine_is_out_of_kserves_reach(
    tmp_path: Path, options: tuple[str, ...]
) -> None:
    push(tmp_path, "17")
    done = deploy(tmp_path, *(option.format(root=tmp_path) for option in options))
    assert done.exit_code == 2
    assert f"KServe cannot read {tmp_path}/serving; name the same folder as the" in done.output


def test_a_folder_without_root_is_read_itself(tmp_path: Path) -> None:
    push(tmp_path, "17", FORCED)
    done = deploy(None, "--model-uri", f"{tmp_path}/serving/17")
    assert "version 17 was pushed by force" in done.output


def test_a_store_is_read_in_a_process_that_may_import_tensorflow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = import_module("gauntlet.commands.deploy")
    monkeypatch.setattr(command, "READ_BY_TENSORFLOW", str(tmp_path))
    push(tmp_path, "17", FORCED)
    done = deploy(None, "--model-uri", f"{tmp_path}/serving")
    assert "read the store           finished" in done.stderr
    assert "version 17 was pushed by force" in done.stderr


def test_nothing_was_pushed_and_no_such_version(tmp_path: Path) -> None:
    done = deploy(tmp_path, *STORE)
    assert done.exit_code == 2
    assert f"nothing has been pushed in {tmp_path}/serving yet" in done.output
    push(tmp_path, "17")
    done = deploy(tmp_path, "--model-uri", "gs://b/serving/3")
    assert done.exit_code == 2
    assert f"there is no version 3 in {tmp_path}/serving; there are 17" in done.output


def test_without_root_and_uri_the_default_root_is_meant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = deploy(None)
    assert done.exit_code == 2
    assert f"there is no folder {tmp_path}/runs; name the root" in done.output


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--name", "Digits"),
        ("--name", "1st"),
        ("--name", "a.b"),
        ("--name", "-a"),
        ("--name", "a-"),
        ("--name", ""),
        ("--name", "a" * 64),
        ("--namespace", "ML"),
        ("--namespace", "a_b"),
        ("--namespace", "n" * 64),
        ("--cpu", "much"),
        ("--memory", "2 Gi"),
        ("--memory", "-1"),
    ],
)
def test_names_and_quantities_that_kubernetes_refuses(
    tmp_path: Path, option: str, value: str
) -> None:
    push(tmp_path, "17")
    done = deploy(tmp_path, *STORE, option, value)
    assert done.exit_code == 2
    assert f"{option} is " in done.output
    assert f"got {value!r}" in done.output


@pytest.mark.parametrize("namespace", ["1", "n" * 63, "a-b"])
def test_names_that_kubernetes_takes(tmp_path: Path, namespace: str) -> None:
    push(tmp_path, "17")
    assert deploy(tmp_path, *STORE, "--namespace", namespace).exit_code == 0


@pytest.mark.parametrize(
    ("target", "option"),
    [("kserve", "--endpoint"), ("kserve", "--region"), ("vertex", "--cpu"), ("vertex", "--output")],
)
def test_options_of_the_other_target_are_refused(tmp_path: Path, target: str, option: str) -> None:
    file = str(tmp_path / "x")
    done = CliRunner().invoke(main, ["deploy", "--target", target, option, file])
    assert done.exit_code == 2
    assert f"{option} is for --target " in done.output
    assert f"not for {target}" in done.output
