"""Docker for the tests: a script in its place, or a daemon that has built the image."""

import functools
from collections.abc import Iterator
from pathlib import Path

import docker_daemon
import fake_docker as fake
import pytest


@pytest.fixture
def fake_docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> fake.Fake:
    """Puts a shell script in Docker's place; returns the file with its calls, one a line."""
    return functools.partial(fake.install, tmp_path, monkeypatch=monkeypatch)


@pytest.fixture(scope="session")
def docker_image(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[docker_daemon.Built]:
    """The cpu image, built from the unchanged Dockerfile in a daemon of the tests' own.

    Where Docker cannot start, the test is skipped, and the summary says so (`tests/conftest.py`).
    """
    try:
        with docker_daemon.built_image(tmp_path_factory.mktemp("docker")) as built:
            yield built
    except docker_daemon.NoDocker as reason:
        pytest.skip(f"{docker_daemon.NOT_PROVEN}: {reason}")
