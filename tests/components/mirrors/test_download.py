"""Downloads end: they have a size, a time and a number of tries, and say how far they are."""

import http.server
import logging
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from components.mirrors import download
from components.mirrors.download import download as fetch
from foundation.errors import DataError

CONTENT = bytes(range(256)) * 1000

Answer = Callable[[http.server.BaseHTTPRequestHandler], None]


def whole(request: http.server.BaseHTTPRequestHandler) -> None:
    request.send_response(200)
    request.send_header("Content-Length", str(len(CONTENT)))
    request.end_headers()
    request.wfile.write(CONTENT)


def cut(request: http.server.BaseHTTPRequestHandler) -> None:
    request.send_response(200)
    request.send_header("Content-Length", str(len(CONTENT)))
    request.end_headers()
    request.wfile.write(CONTENT[:1000])


def without_length(request: http.server.BaseHTTPRequestHandler) -> None:
    request.send_response(200)
    request.end_headers()
    request.wfile.write(CONTENT)


def odd_length(request: http.server.BaseHTTPRequestHandler) -> None:
    request.send_response(200)
    request.send_header("Content-Length", "many")
    request.end_headers()
    request.wfile.write(CONTENT)


def endless(request: http.server.BaseHTTPRequestHandler) -> None:
    request.send_response(200)
    request.end_headers()
    try:
        while True:
            request.wfile.write(CONTENT)
    except OSError:
        pass


def drip(request: http.server.BaseHTTPRequestHandler) -> None:
    """A byte now and then, which no limit on silence notices."""
    request.send_response(200)
    request.end_headers()
    try:
        while True:
            request.wfile.write(b".")
            time.sleep(0.05)
    except OSError:
        pass


def status(code: int) -> Answer:
    return lambda request: request.send_error(code)


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Answer]]:
    """What a server on this machine answers, one after another; the last one stays."""
    queue: list[Answer] = []

    class Server(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer = queue.pop(0) if len(queue) > 1 else queue[0]
            answer(self)

        def log_message(self, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        monkeypatch.setenv("NO_PROXY", "*")
        monkeypatch.setattr(download, "PAUSE_SECONDS", 0.01)
        monkeypatch.setitem(ADDRESS, "url", f"http://127.0.0.1:{server.server_port}/file")
        yield queue
        server.shutdown()


ADDRESS = {"url": ""}


@pytest.mark.parametrize(
    "trouble", [status(503), status(429), cut], ids=["unavailable", "too many", "cut off"]
)
def test_it_tries_again_and_says_so(
    answers: list[Answer], tmp_path: Path, caplog: pytest.LogCaptureFixture, trouble: Answer
) -> None:
    caplog.set_level(logging.INFO, logger="gauntlet.data")
    answers += [trouble, trouble, whole]
    fetch(ADDRESS["url"], tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert [message for message in caplog.messages if "try 3 of 3" in message]


@pytest.mark.parametrize(
    ("trouble", "tries"), [(status(503), 3), (cut, 3), (status(404), 1), (status(403), 1)]
)
def test_it_gives_up_and_leaves_nothing(
    answers: list[Answer],
    tmp_path: Path,
    trouble: Answer,
    tries: int,
) -> None:
    asked = []

    def answer(request: http.server.BaseHTTPRequestHandler) -> None:
        asked.append(request.path)
        trouble(request)

    answers.append(answer)
    with pytest.raises(DataError, match=r"/file could not be downloaded: "):
        fetch(ADDRESS["url"], tmp_path / "file")
    assert len(asked) == tries
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("answer", [endless, without_length, whole])
def test_it_has_a_size(
    answers: list[Answer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: Answer
) -> None:
    monkeypatch.setattr(download, "MOST_BYTES", 200_000)
    answers.append(answer)
    with pytest.raises(DataError, match="is larger than 200,000 bytes"):
        fetch(ADDRESS["url"], tmp_path / "file")
    assert list(tmp_path.iterdir()) == []


def test_it_has_a_time(
    answers: list[Answer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "TOTAL_SECONDS", 0.5)
    answers.append(drip)
    begin = time.monotonic()
    with pytest.raises(DataError, match=r"did not finish within 0\.5 s"):
        fetch(ADDRESS["url"], tmp_path / "file")
    assert time.monotonic() - begin < 5
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("answer", [without_length, odd_length])
def test_a_server_need_not_know_the_size(
    answers: list[Answer], tmp_path: Path, answer: Answer
) -> None:
    answers.append(answer)
    fetch(ADDRESS["url"], tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == CONTENT


def test_progress(answers: list[Answer], tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="gauntlet.events")
    answers.append(whole)
    fetch(ADDRESS["url"], tmp_path / "file")
    steps = [vars(record)["progress"] for record in caplog.records if "progress" in vars(record)]
    assert steps[-1] == (len(CONTENT), len(CONTENT))
