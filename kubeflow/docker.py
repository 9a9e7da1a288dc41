"""Docker, by its command line: asked for facts, and containers run as a strict cluster would."""

import os
import shutil
import signal
import subprocess
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gauntlet_kubeflow.entry import FOLDERS

from foundation.errors import RunError
from foundation.process import leashed

USER = "65532:65532"
"""Who runs in a container, by number, as Kubernetes demands of `runAsNonRoot`; the images' own."""

NOT_STARTED = 125
"""Exit code of `docker run` where the container has never run."""


class Containers:
    """Runs each command of a specification in its image; a `Machine` of
    `gauntlet_kubeflow.local.machine`.

    Args:
        volumes: folders of this machine that all containers mount, each with its path there.
    """

    def __init__(self, volumes: Mapping[Path, str] | None = None) -> None:
        check_docker()
        self._volumes = dict(volumes or {})

    def run(
        self, container: Mapping[str, Any], command: Sequence[str], folder: Path, output: Path
    ) -> int:
        """See `Machine`. The store's files lie where KFP's launcher has them, and what the task
        reports at the path that it is told."""
        stores = {folder / name: f"/{name}" for name in FOLDERS.values()}
        for path in (*stores, *self._volumes):
            path.mkdir(parents=True, exist_ok=True)
        own = {output.parent: str(output.parent.absolute())}
        what = Container(
            image=container["image"],
            command=command,
            environment={entry["name"]: entry["value"] for entry in container.get("env", ())},
            mounts=stores | self._volumes | own,
        )
        return run_container(what, output)


@dataclass(frozen=True, kw_only=True)
class Container:
    """A container to run once.

    image: its name, or `sha256:` and its number.
    command: program and arguments, in place of the image's own.
    environment: variables beside the image's own.
    mounts: folders of this machine, each with its path in the container; it may write there.
    """

    image: str
    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    mounts: Mapping[Path, str] = field(default_factory=dict)

    def arguments(self, name: str) -> list[str]:
        """Those of `docker run`: no network, no right to write outside of the mounts and /tmp, and
        a first process that hands on signals."""
        program, *rest = self.command
        return [
            *("run", "--rm", "--init", "--name", name, "--network", "none", "--read-only"),
            *("--tmpfs", "/tmp", "--user", USER),
            *(f"--env={variable}={value}" for variable, value in self.environment.items()),
            *(f"--volume={folder.absolute()}:{path}" for folder, path in self.mounts.items()),
            *("--entrypoint", program, self.image, *rest),
        ]


def run_container(container: Container, log: Path) -> int:
    """Run a container to its end; returns its exit code. It ends when this process does, however
    that happens.

    Args:
        container: what to run.
        log: file to which all that the container prints is appended.

    Raises:
        RunError: Docker cannot start the container.
    """
    for folder in container.mounts:
        open_to_all(folder)
    name = f"gauntlet-{uuid.uuid4().hex}"
    try:
        with log.open("a") as output:
            done = subprocess.run(
                # Docker's client hands the signal on.
                leashed(["docker", *container.arguments(name)], signal.SIGTERM),
                stdin=subprocess.DEVNULL, stdout=output, stderr=output, check=False,
            )  # fmt: skip
    except BaseException:  # interrupted; the container would go on without its client
        subprocess.run(["docker", "rm", "--force", name], capture_output=True, check=False)
        raise
    if done.returncode == NOT_STARTED:
        raise RunError(f"Docker cannot run {container.image}: {_last_line(log.read_text())}")
    return done.returncode


def check_docker() -> None:
    """Raises RunError unless Docker is installed and answers."""
    ask("version", "--format", "{{.Server.Version}}")


def ask(*arguments: str) -> str:
    """What a command of Docker prints.

    Raises:
        RunError: Docker is missing, does not answer, or refuses.
    """
    if not shutil.which("docker"):
        raise RunError(
            "there is no docker on the PATH: install Docker Engine or Docker Desktop (on Debian: "
            "apt-get install docker.io)"
        )
    done = subprocess.run(
        leashed(["docker", *arguments]), capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RunError(
            f"docker {arguments[0]}: {_last_line(done.stderr)}; is Docker running, and does "
            "DOCKER_HOST name it?"
        )
    return done.stdout.strip()


def open_to_all(folder: Path) -> None:
    """Let a container's user write into a folder and those below it, as into a volume of
    Kubernetes; folders of other users are theirs."""
    for path, _, _ in os.walk(folder):
        if os.stat(path).st_uid == os.getuid():
            os.chmod(path, 0o777)


def _last_line(text: str) -> str:
    """What a program said last."""
    lines = text.strip().splitlines()
    return lines[-1] if lines else "it says nothing"
