"""The machines of the nodes, as a TOML file says them."""

from pathlib import Path

import pytest
from gauntlet_kubeflow.compile import memory_gigabytes
from gauntlet_kubeflow.resources import LARGE, SMALL, Profile, Resources, read_profile

from foundation.errors import ConfigError


def profile(tmp_path: Path, text: str) -> Profile:
    (tmp_path / "r.toml").write_text(text)
    return read_profile(tmp_path / "r.toml")


def test_what_is_left_out_is_built_in(tmp_path: Path) -> None:
    read = profile(tmp_path, '[default]\ncpu = 1\n[Trainer-robust]\nmemory = "64Gi"\n')
    assert read.of("Pusher") == Resources(cpu=1, memory=SMALL.memory, retries=SMALL.retries)
    assert read.of("Trainer-robust") == Resources(cpu=LARGE.cpu, memory="64Gi", retries=2)
    assert read.of("Trainer-undefended") == LARGE
    assert profile(tmp_path, "") == Profile()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[default", "cannot be read as a TOML file"),
        ("default = 3", "default is a table"),
        ("[default]\ncpus = 3", r"default: \['cpus'\] is none of"),
        ("[Pusher]\ncpu = -1", "Pusher: cpu is from 0 to 1024, got -1"),
        ('[Pusher]\nmemory = "lots"', "memory is a quantity such as 16Gi, got 'lots'"),
        ('[Pusher]\nmemory = "16"', "memory is a quantity such as 16Gi, got '16'"),
        ('[Pusher]\naccelerator = "nvidia.com/gpu"', "go together"),
        ("[Pusher]\nreplicas = 2", "for a training job: set machine_type"),
        ('[Trainer-robust]\nmachine_type = "n1"\nretries = 3', "retries cannot be had with a"),
        ('[Pusher]\ncpu = "many"', "Pusher: cpu='many'"),
        ("[Pusher]\ncpu = nan", "cpu is from 0 to 1024, got nan"),
        ("[Pusher]\nretries = 99999999999999999999", "retries"),
        ('[Pusher]\nmemory = "\u0664Gi"', "memory is a quantity such as 16Gi"),
    ],
)
def test_a_wrong_file(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        profile(tmp_path, text)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        read_profile(tmp_path / "nothing.toml")


@pytest.mark.parametrize(
    ("quantity", "gigabytes"),
    [("16Gi", 17.179869), ("4G", 4.0), ("512Mi", 0.536871), ("1.5T", 1500.0)],
)
def test_memory_in_the_unit_of_a_specification(quantity: str, gigabytes: float) -> None:
    assert memory_gigabytes(quantity) == gigabytes
