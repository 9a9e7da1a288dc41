"""What `gauntlet compile` tells somebody who could be surprised later."""

from typing import Any

import pytest
from gauntlet_kubeflow.request import Compilation
from gauntlet_kubeflow.resources import Profile, Resources
from gauntlet_kubeflow.target import Target

from foundation.errors import ConfigError
from gauntlet.commands.compile import notes, read_volume
from pipeline.definition.presets import preset

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
