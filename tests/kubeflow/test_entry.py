"""The entry point of a container: what Kubeflow leaves out is put back, and a failure is a line."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from gauntlet_kubeflow import entry
from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2
from tfx.orchestration.kubeflow.v2.container.kubeflow_v2_entrypoint_utils import (
    parse_raw_artifact_dict,
)

from components.versions import address_of
from foundation.versions import STORED_AT

SCHEMA = "title: tfx.Schema\ntype: object\n"
STATISTICS = "title: tfx.ExampleStatistics\ntype: object\n"


@pytest.fixture(autouse=True)
def environment_of_a_container() -> Iterator[None]:
    """What the entry point completes in the environment is forgotten after a test."""
    with mock.patch.dict(os.environ):
        yield


def given(**sides: Any) -> pipeline_spec_pb2.ExecutorInput:
    return json_format.ParseDict(sides, pipeline_spec_pb2.ExecutorInput())


def artifacts(uri: str, **more: Any) -> dict[str, Any]:
    return {"artifacts": [{"name": "7", "uri": uri, **more}]}


@pytest.mark.parametrize(
    "type_", [{}, {"instanceSchema": ""}, {"schemaTitle": "system.Artifact"}],
    ids=["none", "kubeflow", "kfp-local"],
)  # fmt: skip
def test_inputs_get_the_types_that_their_node_declares(type_: dict[str, str]) -> None:
    what = given(inputs={"artifacts": {"schema": artifacts("minio://b/1", type=type_)}})
    declared = json_format.ParseDict(
        {"artifacts": {"schema": {"artifactType": {"instanceSchema": SCHEMA}}}},
        pipeline_spec_pb2.ComponentInputsSpec(),
    )
    entry.declare_types(what, declared)
    (artifact,) = what.inputs.artifacts["schema"].artifacts
    assert artifact.type.instance_schema == SCHEMA


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("minio://mlpipeline/v2/a", "/minio/mlpipeline/v2/a"),
        ("s3://b/a", "/s3/b/a"),
        ("gs://b/a", "/gcs/b/a"),
        ("/mnt/volume/a", "/mnt/volume/a"),
    ],
)
def test_files_lie_where_the_launcher_puts_them(uri: str, path: str) -> None:
    """The three folders are those of `LocalPathForURI` in KFP's launcher."""
    assert entry.local_path(uri, "/") == path


def test_both_sides_move_and_the_report_names_the_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(entry.LAUNCHER_ROOT, str(tmp_path))
    sides = {
        side: {"artifacts": {side: artifacts(f"s3://b/{side}")}} for side in ("inputs", "outputs")
    }
    meant, moved = given(**sides), given(**sides)
    entry.move_to_folders(moved)
    ((brought,),) = (each.artifacts for each in moved.inputs.artifacts.values())
    assert brought.uri == f"{tmp_path}/s3/b/inputs"
    assert dict(brought.metadata) == {STORED_AT: "s3://b/inputs"}
    assert (tmp_path / "s3" / "b").is_dir(), "kfp.local makes no folders for outputs"
    report = tmp_path / "report.json"
    local = moved.outputs.artifacts["outputs"].artifacts[0].uri
    told = {"artifacts": {"outputs": artifacts(local, metadata={"blessed": 1.0})}}
    report.write_text(json.dumps(told))
    entry.give_back_uris(report, meant)
    (artifact,) = json.loads(report.read_text())["artifacts"]["outputs"]["artifacts"]
    assert (artifact["uri"], artifact["metadata"]) == ("s3://b/outputs", {"blessed": 1.0})


def test_a_model_keeps_its_address_in_the_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As TFX's entry point reads what we have moved: a card names the store, not a container."""
    monkeypatch.setenv(entry.LAUNCHER_ROOT, str(tmp_path))
    kind = {"instanceSchema": "title: tfx.Model\ntype: object\n"}
    moved = given(inputs={"artifacts": {"model": artifacts("s3://b/model", type=kind)}})
    entry.move_to_folders(moved)
    ((model,),) = parse_raw_artifact_dict(moved.inputs.artifacts).values()
    assert model.uri == f"{tmp_path}/s3/b/model"
    assert address_of(model.mlmd_artifact) == "s3://b/model"


def arguments(executor: str, tmp_path: Path, **inputs: Any) -> list[str]:
    what = {
        "inputs": {"parameterValues": inputs},
        "outputs": {
            "artifacts": {"schema": artifacts("minio://b/schema", type={"instanceSchema": SCHEMA})},
            "outputFile": str(tmp_path / "output" / "output_metadata.json"),
        },
    }
    declared = {"parameters": {"text": {"parameterType": "STRING"}}}
    return [
        "--files=launcher", "--executor_class_path", executor,
        "--json_serialized_invocation_args", json.dumps(what),
        "--json_serialized_inputs_spec_args", json.dumps(declared),
        "--runner=FnApiRunner",
    ]  # fmt: skip


def test_a_node_runs_and_reports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(entry.LAUNCHER_ROOT, str(tmp_path))
    executor = "components.curated_schema.CuratedSchema_Executor"
    assert entry.main(arguments(executor, tmp_path, text="feature { name: 'label' }")) == 0
    assert "label" in (tmp_path / "minio" / "b" / "schema" / "schema.pbtxt").read_text()
    report = json.loads((tmp_path / "output" / "output_metadata.json").read_text())
    assert report["artifacts"]["schema"]["artifacts"][0]["uri"] == "minio://b/schema"


def test_an_image_with_other_code_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    executor = "components.curated_schema.CuratedSchema_Executor"
    told = arguments(executor, tmp_path, text="feature { name: 'label' }")
    monkeypatch.setenv(entry.LAUNCHER_ROOT, str(tmp_path))
    monkeypatch.setenv(entry.CODE, entry.code_run_by(executor))
    assert entry.main(told) == 0
    monkeypatch.setenv(entry.CODE, "of another commit")
    assert entry.main(told) == 2
    assert "the image of this task holds another version of this project" in capsys.readouterr().err


def test_a_mistake_is_one_line_and_its_exit_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from foundation.errors import ConfigError

    def refuse(*_: Any) -> None:
        raise ConfigError("the setting")

    monkeypatch.setattr(entry, "run", refuse)
    assert entry.main(arguments("x", tmp_path)) == 2
    assert capsys.readouterr().err == "gauntlet: the setting\n"
