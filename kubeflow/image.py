"""The images of the nodes: built by Docker from a checkout, and named by their bytes."""

import re
import signal
import subprocess
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from gauntlet_kubeflow.docker import ask, check_docker

from foundation.errors import ConfigError, RunError
from foundation.process import leashed

ROOT = Path(__file__).resolve().parents[1]
"""The checkout, unless this package was installed from a wheel."""

DOCKERFILE = "kubeflow/Dockerfile"
PINNED = re.compile(r"(?:.+@)?sha256:[0-9a-f]{64}")


class ImageKind(StrEnum):
    """The targets of the Dockerfile: for every node, for those that compute on a GPU, and for
    workers of a Beam engine (`--sdk_container_image`)."""

    CPU = "cpu"
    GPU = "gpu"
    BEAM = "beam"


@dataclass(frozen=True, kw_only=True)
class ImageBuild:
    """An image to build.

    target: which of the images.
    tag: its name; with `push` in a registry.
    base: image to build on, which has Python 3.11; '' for the Dockerfile's own.
    push: whether it is sent to the registry.
    docker_options: further options of `docker build`.
    """

    target: ImageKind
    tag: str
    base: str = ""
    push: bool = False
    docker_options: tuple[str, ...] = ()


def is_pinned(image: str) -> bool:
    """Whether the name always means the same bytes, so that a cache sees that an image changed."""
    return PINNED.fullmatch(image) is not None


def build_image(build: ImageBuild, root: Path = ROOT) -> str:
    """Build an image; Docker shows how it goes on.

    Args:
        build: what to build.
        root: checkout of this project.

    Returns:
        The reference for `gauntlet compile --image`, which names exactly these bytes: that in the
        registry where the image was pushed, otherwise the image's number on this machine.

    Raises:
        ConfigError: the root is no checkout.
        RunError: Docker is missing or does not answer, or the build or the push failed.
    """
    if not (root / "requirements.lock").is_file() or not (root / DOCKERFILE).is_file():
        raise ConfigError(
            f"an image is built from a checkout of Gauntlet, and {root} is none: this is an "
            "installed package; clone the repository and call its .venv/bin/gauntlet"
        )
    check_docker()
    _watch("build", *build_arguments(build, root), str(root))
    if build.push:
        _watch("push", build.tag)
        return _pushed(build.tag)
    return ask("image", "inspect", "--format", "{{.Id}}", build.tag)


def build_arguments(build: ImageBuild, root: Path) -> list[str]:
    """Those of `docker build`, without the folder."""
    arguments = ["--file", str(root / DOCKERFILE), "--target", build.target, "--tag", build.tag]
    if build.base:
        arguments += ["--build-arg", f"BASE={build.base}"]
    if revision := _revision(root):
        arguments += ["--build-arg", f"REVISION={revision}"]
    return [*arguments, *build.docker_options]


def megabytes(image: str) -> int:
    """Size of an image on this machine."""
    return int(ask("image", "inspect", "--format", "{{.Size}}", image)) // 1_000_000


def _watch(verb: str, *arguments: str) -> None:
    """A long command of Docker, which prints where we do."""
    done = subprocess.run(leashed(["docker", verb, *arguments], signal.SIGTERM), check=False)
    if done.returncode:
        raise RunError(f"docker {verb} ended with code {done.returncode}; it has printed why")


def _pushed(tag: str) -> str:
    """The digest reference of an image in the registry to which it was pushed."""
    repository = re.sub(r":[^:/]+$", "", tag)
    names = {repository, f"docker.io/{repository}", f"docker.io/library/{repository}"}
    listed = ask("image", "inspect", "--format", "{{range .RepoDigests}}{{println .}}{{end}}", tag)
    for reference in listed.splitlines():
        if reference.rpartition("@")[0] in names:  # some engines add Docker's own registry
            return reference
    raise RunError(f"Docker knows no digest of {repository} after the push")


def _revision(root: Path) -> str:
    """The commit of a checkout, '' where git cannot tell."""
    describe = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40"]
    try:
        return subprocess.run(
            leashed(describe), capture_output=True, text=True, check=True
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""
