"""What `gauntlet compile` tells somebody who could be surprised later."""

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from gauntlet_kubeflow.request import Compilation
from gauntlet_kubeflow.resources import Profile, Resources
from gauntlet_kubeflow.target import Target

import gauntlet.work
from components.bound import write_terms
from components.mandate import Mandate
from foundation.errors import ConfigError
from gauntlet.cli import main
from gauntlet.commands.compile import notes, read_volume
from pipeline.definition.config import override
from pipeline.definition.presets import preset
from pipeline.definition.terms import terms_of

PINNED = f"i@sha256:{64 * '0'}"
GPU = Profile(nodes={"Trainer-robust": Resources(accelerator="nvidia.com/gpu", accelerators=1)})


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({}, []),
        ({"image": "i:1"}, ["i:1 is named by a tag"]),
        ({"data_uri": "gs://b/x"}, ["no --data-fingerprint says"]),
        ({"profile": GPU}, ["tasks with an accelerator run in --image"]),
        ({"profile": GPU, "gpu_image": PINNED}, []),
    ],
)
def test_notes(more: dict[str, Any], said: list[str]) -> None:
    asked: dict[str, Any] = {"image": PINNED, "pipeline_root": "gs://b/f"} | more
    request = Compilation(config=preset("smoke"), target=Target.KFP_V2, **asked)
    found = list(notes(request))
    assert len(found) == len(said)
    assert all(note.startswith(begin) for note, begin in zip(found, said, strict=True))


@pytest.mark.parametrize("text", ["models", "models:", ":/mnt/x", "Models:/mnt/x", "m:mnt", "m:/"])
def test_what_is_no_volume(text: str) -> None:
    with pytest.raises(ConfigError, match="--volume is CLAIM:/PATH"):
        read_volume(text)


def compiled(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *options: str
) -> tuple[str, list[Compilation]]:
    """What the command says, and what it would have compiled."""
    requests: list[Compilation] = []
    monkeypatch.setattr(gauntlet.work, "call_with", lambda *given: requests.append(given[2][0]))
    place = ("--target", "vertex", "--image", PINNED, "--pipeline-root", "gs://b/f")
    output = ("--output", str(tmp_path / "job.json"))
    done = CliRunner().invoke(main, ["compile", *place, *output, *options])
    return f"{done.exit_code} {' '.join(done.output.split())}", requests


def test_a_mandate_is_compiled_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    _, (request,) = compiled(monkeypatch, tmp_path, "--replace", "--reason", "clothes now")
    mandate = Mandate.of_json(request.mandate)
    assert (mandate.replace, mandate.force, mandate.signature.reason) == (
        True,
        False,
        "clothes now",
    )
    _, (request,) = compiled(monkeypatch, tmp_path)
    assert request.mandate == ""
    said, requests = compiled(monkeypatch, tmp_path, "--force")
    assert said.startswith("2 wrong usage: say why")
    assert requests == []


def test_gates_of_a_reviewed_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    reviewed = terms_of(override(preset("robust"), ["gates.best=0.01"]))
    write_terms(tmp_path / "gates.toml", reviewed)
    file = ("--gates", str(tmp_path / "gates.toml"))
    _, (request,) = compiled(monkeypatch, tmp_path, "--preset", "tutorial", *file)
    assert terms_of(request.config) == reviewed
    said, requests = compiled(monkeypatch, tmp_path, "--preset", "fashion", *file)
    assert "is for another purpose" in said
    assert requests == []
