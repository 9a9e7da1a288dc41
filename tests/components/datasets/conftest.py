"""What tests of data sets share: a tiny MNIST, its archives, and a host that has them."""

import http.server
import shutil
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from tiny_mnist import CLOSED_HOST, shrink_mnist, use_default_root, write_archives

from components.datasets.prepare import prepare


@pytest.fixture(scope="session")
def official(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("official")
    write_archives(folder)
    return folder


@pytest.fixture
def tiny_mnist(official: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {path.name: path.read_bytes() for path in official.glob("*.gz")}
    monkeypatch.setenv("NO_PROXY", "*")
    use_default_root(monkeypatch, tmp_path / "default")
    shrink_mnist(monkeypatch, CLOSED_HOST, files)


@pytest.fixture(scope="session")
def pristine(official: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A TFDS root with tiny MNIST prepared, shared by the tests that only copy it."""
    folder = tmp_path_factory.mktemp("pristine")
    with pytest.MonkeyPatch.context() as patch:
        shrink_mnist(patch, CLOSED_HOST, write_archives(folder))
        prepare("mnist", str(folder))
    return folder / "tfds"


@pytest.fixture
def root(pristine: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(pristine, tmp_path / "root"))


@pytest.fixture
def host(tiny_mnist: None, official: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """TFDS's own host, on this machine."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            pass

    handler = partial(Quiet, directory=str(official))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        files = {path.name: path.read_bytes() for path in official.glob("*.gz")}
        shrink_mnist(monkeypatch, f"http://127.0.0.1:{server.server_port}/", files)
        yield
        server.shutdown()
