"""The stock builder: is its host there, and its child process with all that can become of it."""

import logging
import os
import re
import socket
import sys
import threading
from pathlib import Path

import pytest
from requests.adapters import HTTPAdapter
from tiny_mnist import TEST, TRAIN

from components.datasets import stock, worker
from components.datasets.image_folder import describe, fingerprint
from foundation import events
from foundation.errors import DataError

pytestmark = pytest.mark.usefixtures("tiny_mnist")


@pytest.mark.usefixtures("host")
def test_probe_of_a_host_that_answers() -> None:
    url = stock.download_url(stock.load_builder("mnist", None))
    assert url is not None
    assert stock.unreachable(url) is None
    assert stock.unreachable(url + "x") == "the host answered with HTTP status 404"


def test_probe_of_a_silent_host_ends_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # accepts, never answers
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        reason = stock.unreachable(url, seconds=0.2)
    assert reason is not None
    assert re.search(r"no answer within 0\.2 s|timed out", reason)


def test_a_download_that_stands_still_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """TFDS's own request, of a host that sends half of what it announced."""
    from tensorflow_datasets.core.download import downloader

    monkeypatch.setattr(worker, "SECONDS_OF_SILENCE", 0.3)
    before = HTTPAdapter.send
    half = b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n0123456789"
    with socket.create_server(("127.0.0.1", 0)) as server:
        accepted: list[socket.socket] = []

        def answer() -> None:
            accepted.append(server.accept()[0])
            accepted[0].send(half)

        threading.Thread(target=answer, daemon=True).start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}/archive"

        def download(preparation: stock.Preparation) -> None:
            with worker.silence_ends(), downloader._open_url(url) as (_, content):
                b"".join(content)

        monkeypatch.setattr(worker, "prepare", download)
        with pytest.raises(DataError, match=r"Read timed out.*\(no byte for 0\.3 s\)$"):
            worker.run(stock.Preparation(root=""))
    accepted[0].close()
    assert HTTPAdapter.send is before


def test_worker_reports_every_stage(
    tmp_path: Path,
    official: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(events, "SECONDS_BETWEEN_RECORDS", 3600)  # the first and the last step only
    caplog.set_level(logging.INFO, "gauntlet")
    total = TRAIN + TEST
    worker.prepare(
        stock.Preparation(
            dataset="mnist", root=str(tmp_path), manual_dir=str(official), examples=total
        )
    )
    assert [(record.getMessage(), vars(record)["progress"]) for record in caplog.records] == [
        ("preparing", (1, total)),
        ("preparing", (total, total)),
    ]


def test_the_child_process_prepares_and_its_progress_is_logged_here(
    tmp_path: Path,
    official: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A folder of images, because that needs no archives of the real size."""
    from PIL import Image

    monkeypatch.undo()  # the real `stock.run`
    for folder in ("train/a", "train/b", "test/a", "test/b"):
        (tmp_path / "images" / folder).mkdir(parents=True)
        Image.new("L", (4, 4)).save(tmp_path / "images" / folder / "image.png")
    caplog.set_level(logging.INFO, "gauntlet")
    root = tmp_path / "root"
    root.mkdir()
    images = describe(str(tmp_path / "images"))
    config = fingerprint(images)[:16]
    stock.run(stock.Preparation(images=images, root=str(root), config=config))
    assert (caplog.messages[-1], vars(caplog.records[-1])["progress"]) == ("preparing", (4, 4))
    assert list(root.glob(f"*/{config}/*/dataset_info.json"))


def test_child_process_reports_its_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()  # the real `stock.run`
    with pytest.raises(DataError, match=r"^DatasetNotFoundError: Dataset nosuch not found"):
        stock.run(stock.Preparation(dataset="nosuch", root=str(tmp_path)))


def test_a_child_process_that_dies_is_no_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Here it ends while it imports what it was told to run."""
    (tmp_path / "tensorflow_datasets.py").write_text(
        "import os, tempfile; print(tempfile.gettempdir(), flush=True); os.kill(os.getpid(), 9)"
    )
    monkeypatch.undo()
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *sys.path]))
    caplog.set_level(logging.DEBUG, "gauntlet.data")
    with pytest.raises(DataError, match=r"^TFDS ended with signal 9 \(killed, or perhaps out of "):
        stock.run(stock.Preparation(dataset="mnist", root=str(tmp_path)))
    assert f"output of the TFDS child process:\n{tmp_path}" in caplog.text
