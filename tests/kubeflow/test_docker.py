"""How a container is run; Docker is a script here, and a daemon in `test_image_docker.py`."""

import os
import re
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from fake_docker import Fake
from gauntlet_kubeflow.docker import Container, Containers, run_container

from foundation.errors import RunError

ROOT = Path(__file__).parents[2]
SPECIFIED = {"image": "gauntlet:1", "env": [{"name": "CUDA_VISIBLE_DEVICES", "value": "-1"}]}


def test_a_task_runs_as_a_strict_cluster_would_run_it(tmp_path: Path, fake_docker: Fake) -> None:
    calls = fake_docker("echo said; echo wrong >&2; [ $1 = version ] || exit 3")
    task, store = tmp_path / "work/runs/1/Trainer", tmp_path / "store"
    task.mkdir(parents=True)
    (task / "log.txt").write_text("first attempt\n")
    code = Containers({store: "/mnt/store"}).run(
        SPECIFIED, ["python", "-m", "entry", "a b"], tmp_path / "work", task / "log.txt"
    )
    assert code == 3
    assert (task / "log.txt").read_text() == "first attempt\nsaid\nwrong\n"
    _, called = calls.read_text().splitlines()
    name = called.split()[4]
    work = tmp_path / "work"
    assert called == (
        f"run --rm --init --name {name} --network none --read-only --tmpfs /tmp "
        "--user 65532:65532 --env=CUDA_VISIBLE_DEVICES=-1 "
        f"--volume={work}/minio:/minio --volume={work}/s3:/s3 --volume={work}/gcs:/gcs "
        f"--volume={store}:/mnt/store --volume={task}:{task} "
        "--entrypoint python gauntlet:1 -m entry a b"
    )


def test_the_user_of_a_container_may_write_into_what_it_mounts(
    tmp_path: Path, fake_docker: Fake
) -> None:
    fake_docker("")
    (tmp_path / "made/below").mkdir(parents=True, mode=0o755)
    mounts = {tmp_path / "made": "/made"}
    run_container(Container(image="i", command=["c"], mounts=mounts), tmp_path / "log")
    for folder in ("made", "made/below"):
        assert stat.S_IMODE((tmp_path / folder).stat().st_mode) == 0o777


def test_a_container_that_docker_cannot_start_is_an_error(
    tmp_path: Path, fake_docker: Fake
) -> None:
    fake_docker("echo pulling >&2; echo no such image >&2; exit 125")
    with pytest.raises(RunError, match=r"^Docker cannot run gauntlet:1: no such image$"):
        run_container(Container(image="gauntlet:1", command=["c"]), tmp_path / "log")


def test_an_interrupted_container_is_removed(tmp_path: Path, fake_docker: Fake) -> None:
    calls = fake_docker('[ "$1" != run ] || { kill -ALRM $PPID; sleep 60; }')

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        with pytest.raises(KeyboardInterrupt):
            run_container(Container(image="i", command=["c"]), tmp_path / "log")
    finally:
        signal.signal(signal.SIGALRM, before)
    run, removed = calls.read_text().splitlines()
    assert removed == f"rm --force {run.split()[4]}"


def test_where_docker_cannot_start_the_summary_says_so_loudly(tmp_path: Path) -> None:
    test = "tests/kubeflow/test_image_docker.py::test_the_image_says_what_it_is"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--basetemp", tmp_path, test],
        cwd=ROOT, env=os.environ | {"PATH": str(tmp_path)}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    _, _, summary = done.stdout.partition("! DOCKER DID NOT RUN !")
    reason = r"the image was neither built nor run: (dockerd is missing|a daemon of our own)"
    assert re.search(reason, summary), done.stdout
    assert "1 skipped" in summary
