"""`prepare` with the stock MNIST builder, shrunk to ten images, and archives made here.

Only sizes and checksums are patched; the builder, its downloader and its file formats are real. The
TFDS child process is run inside this one, so that it sees the patches. Long because nearly all
tests share that tiny MNIST.
"""

import dataclasses
import gzip
import hashlib
import http.server
import logging
import os
import re
import shutil
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from components.datasets import stock, worker
from components.datasets.prepare import PreparedDataset, prepare
from components.mirrors import mirror
from components.mirrors.archives import Checksum
from foundation import events
from foundation.errors import DataError
from pipeline.root.root import Root

TRAIN, TEST = 6, 4
TRAIN_SHARD = "mnist-train.tfrecord-00000-of-00001"


def write_archives(folder: Path) -> dict[str, bytes]:
    """The four archives of a tiny MNIST in `folder`; returns their bytes by name."""
    files = {}
    for part, count in (("train", TRAIN), ("t10k", TEST)):
        pixels = bytes(index % 251 for index in range(28 * 28 * count))
        images = struct.pack(">IIII", 2051, count, 28, 28) + pixels
        labels = struct.pack(">II", 2049, count) + bytes(index % 10 for index in range(count))
        files[f"{part}-images-idx3-ubyte.gz"] = gzip.compress(images, mtime=1)
        files[f"{part}-labels-idx1-ubyte.gz"] = gzip.compress(labels, mtime=1)
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return files


def shrink_mnist(patch: pytest.MonkeyPatch, url: str, files: dict[str, bytes]) -> None:
    """Let the stock builder expect the tiny archives at `url`, and run its child in-process."""
    from tensorflow_datasets.core.download.checksums import UrlInfo
    from tensorflow_datasets.image_classification import mnist

    infos = {
        url + name: UrlInfo(
            size=len(data), checksum=hashlib.sha256(data).hexdigest(), filename=name
        )
        for name, data in files.items()
    }
    patch.setattr(mnist, "_TRAIN_EXAMPLES", TRAIN)
    patch.setattr(mnist, "_TEST_EXAMPLES", TEST)
    patch.setattr(mnist.MNIST, "URL", url)
    patch.setattr(mnist.MNIST, "url_infos", infos)
    patch.setattr(stock, "run", worker.prepare)


def use_default_root(patch: pytest.MonkeyPatch, root: Path) -> None:
    from tensorflow_datasets.core import constants

    patch.setattr(constants, "DATA_DIR", str(root))


@pytest.fixture(scope="module")
def official(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("official")
    write_archives(folder)
    return folder


CLOSED_HOST = "http://127.0.0.1:9/"


@pytest.fixture(autouse=True)
def tiny_mnist(official: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {path.name: path.read_bytes() for path in official.glob("*.gz")}
    monkeypatch.setenv("NO_PROXY", "*")
    use_default_root(monkeypatch, tmp_path / "default")
    shrink_mnist(monkeypatch, CLOSED_HOST, files)


@pytest.fixture(scope="module")
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


def forbid_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("network or child process used")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(subprocess, "Popen", refuse)
    monkeypatch.setattr(stock, "run", refuse)


@pytest.mark.parametrize("where", [".", "mnist", "mnist/3.0.1"], ids=["root", "parent", "version"])
def test_prepared_data_is_only_read(
    root: Path, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    forbid_network(monkeypatch)
    before = sorted(root.rglob("*"))
    result = prepare("mnist", str(root / where))
    assert dataclasses.replace(result, fingerprint="") == PreparedDataset(
        name="mnist",
        version="3.0.1",
        directory=str(root / "mnist" / "3.0.1"),
        splits={"train": TRAIN, "test": TEST},
        fingerprint="",
    )
    assert sorted(root.rglob("*")) == before


def test_default_root_is_used_without_data_dir(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_default_root(monkeypatch, root)
    forbid_network(monkeypatch)
    assert prepare("mnist", None).directory == str(root / "mnist" / "3.0.1")


def test_result_can_be_read_back_with_tfds(root: Path) -> None:
    import tensorflow_datasets as tfds

    result = prepare("mnist", str(root))
    rows = list(tfds.as_numpy(tfds.builder_from_directory(result.directory).as_dataset("train")))
    assert sorted(int(row["label"]) for row in rows) == list(range(TRAIN))
    assert rows[0]["image"].shape == (28, 28, 1)


def test_fingerprint_is_of_the_content(
    root: Path, official: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = prepare("mnist", str(root)).fingerprint
    for path in root.rglob("*"):
        os.utime(path, (1, 1))
    moved = root.rename(tmp_path / "moved")
    assert prepare("mnist", str(moved)).fingerprint == first
    prepared_again = prepare("mnist", str(shutil.copytree(official, tmp_path / "again")))
    assert prepared_again.fingerprint == first

    other = tmp_path / "other"
    files = write_archives(other)
    labels = struct.pack(">II", 2049, TRAIN) + bytes(TRAIN)
    files["train-labels-idx1-ubyte.gz"] = gzip.compress(labels)
    (other / "train-labels-idx1-ubyte.gz").write_bytes(files["train-labels-idx1-ubyte.gz"])
    shrink_mnist(monkeypatch, CLOSED_HOST, files)
    assert prepare("mnist", str(other)).fingerprint != first


def test_the_link_in_the_root_is_the_data(root: Path, tmp_path: Path) -> None:
    other = prepare("mnist", str(shutil.copytree(root, tmp_path / "other")))
    data = prepare("mnist", str(root))
    for place in (other, data):
        link = Root(tmp_path).link_data(place.directory)
        assert link == str(tmp_path / ".data")
        assert prepare("mnist", link) == place
    assert Root(tmp_path).link_data(prepare("mnist", link).directory) == link, (
        "the link itself was passed as data_dir"
    )
    assert prepare("mnist", link) == data


def test_archives_are_prepared_beside_themselves_and_once(
    official: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(shutil.copytree(official, tmp_path / "archives"))
    result = prepare("mnist", str(folder))
    assert result.directory == str(folder / "tfds" / "mnist" / "3.0.1")
    assert sorted(path.name for path in (folder / "tfds").iterdir()) == [
        ".gauntlet-mnist.lock",
        "mnist",
    ]
    forbid_network(monkeypatch)
    assert prepare("mnist", str(folder)) == result


def test_archives_in_a_folder_that_cannot_be_written(official: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(official, tmp_path / "archives"))
    (folder / "tfds").write_text("a file, so that no folder can be made here, even by root")
    assert prepare("mnist", str(folder)).directory == str(tmp_path / "default/mnist/3.0.1")


@pytest.fixture
def host(official: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
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


@pytest.mark.usefixtures("host")
def test_missing_folder_is_filled_from_the_own_host(tmp_path: Path) -> None:
    result = prepare("mnist", str(tmp_path / "new" / "root"))
    assert result.directory == str(tmp_path / "new/root/mnist/3.0.1")
    assert result.splits == {"train": TRAIN, "test": TEST}


@dataclasses.dataclass(frozen=True, kw_only=True)
class FakeMirror:
    """A mirror that copies `source`, or fails with `error`."""

    source: Path | None = None
    error: str = ""
    title: str = "a mirror"
    examples: int = TRAIN + TEST

    def fetch(self, folder: Path, checksums: dict[str, Checksum]) -> None:
        if self.source is None:
            raise DataError(self.error)
        shutil.copytree(self.source, folder, dirs_exist_ok=True)


def test_mirror_is_used_when_the_own_host_is_closed(
    official: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(mirror.MIRRORS, "mnist", FakeMirror(source=official))
    left_over = tmp_path / "root" / ".gauntlet-mnist.work-killed"
    left_over.mkdir(parents=True)
    assert prepare("mnist", str(tmp_path / "root")).splits == {"train": TRAIN, "test": TEST}
    assert not left_over.exists()


def test_no_source_lists_every_try(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(mirror.MIRRORS, "mnist", FakeMirror(error="it burned down"))
    with pytest.raises(DataError) as error:
        prepare("mnist", str(tmp_path))
    message = str(error.value)
    assert f"1. prepared data in {tmp_path / 'mnist/3.0.1'}: there is none" in message
    assert "2. TFDS's own download from 127.0.0.1:9: " in message
    assert "Connection refused" in message
    assert "3. a mirror: it burned down" in message
    assert "or put t10k-images-idx3-ubyte.gz, " in message
    assert "into one folder and pass it as --data-dir" in message
    assert [path.name for path in tmp_path.iterdir()] == [".gauntlet-mnist.lock"]


def test_interruption_leaves_nothing_half_done(
    official: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(mirror.MIRRORS, "mnist", FakeMirror(source=official))

    def interrupt(preparation: stock.Preparation) -> None:
        (Path(preparation.root) / "mnist" / "3.0.1").mkdir(parents=True)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(stock, "run", interrupt)
        with pytest.raises(KeyboardInterrupt):
            prepare("mnist", str(tmp_path / "root"))
    assert [path.name for path in (tmp_path / "root").iterdir()] == [".gauntlet-mnist.lock"]
    assert prepare("mnist", str(tmp_path / "root")).splits == {"train": TRAIN, "test": TEST}


def test_two_at_once_prepare_once(
    pristine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside, release, runs = threading.Event(), threading.Event(), []

    def slow(preparation: stock.Preparation) -> None:
        runs.append(preparation)
        inside.set()
        assert release.wait(10)
        shutil.copytree(pristine / "mnist", Path(preparation.root) / "mnist")

    monkeypatch.setattr(stock, "run", slow)
    monkeypatch.setattr(stock, "unreachable", lambda url: None)
    threads = [
        threading.Thread(target=prepare, args=("mnist", str(tmp_path / "root"))) for _ in range(2)
    ]
    threads[0].start()
    assert inside.wait(10)
    threads[1].start()
    threads[1].join(timeout=0.3)
    assert threads[1].is_alive(), "the second one did not wait for the first"
    release.set()
    for thread in threads:
        thread.join(timeout=10)
    assert len(runs) == 1


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def flip_a_byte(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[100] ^= 1
    path.write_bytes(data)


def lose_records(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize(
    ("file", "damage", "message"),
    [
        (TRAIN_SHARD, Path.unlink, rf"lacks 1 of 2 shard files: {TRAIN_SHARD}\. Found: "),
        (TRAIN_SHARD, truncate, rf"{TRAIN_SHARD} is damaged: record {TRAIN} of {TRAIN} is cut off"),
        (TRAIN_SHARD, flip_a_byte, rf"{TRAIN_SHARD} is damaged: record 1 of {TRAIN} fails its"),
        (TRAIN_SHARD, lose_records, rf"damaged: expected {TRAIN} records, found 0"),
        ("dataset_info.json", Path.unlink, r"lacks dataset_info\.json"),
        ("features.json", Path.unlink, r"lacks features\.json"),
        ("dataset_info.json", truncate, r"cannot be read"),
        ("features.json", truncate, r"cannot be read"),
    ],
    ids=["shard missing", "shard truncated", "shard damaged", "shard empty", "info missing",
         "features missing", "info damaged", "features damaged"],
)  # fmt: skip
@pytest.mark.parametrize("where", [".", "mnist/3.0.1"], ids=["root", "version"])
def test_damaged_prepared_data(
    root: Path, where: str, file: str, damage: Callable[[Path], None], message: str
) -> None:
    damage(root / "mnist" / "3.0.1" / file)
    with pytest.raises(DataError, match=message) as error:
        prepare("mnist", str(root / where))
    assert f"remove {root / 'mnist'}" in str(error.value)
    assert "and run again" in str(error.value)


def test_folder_of_another_data_set(root: Path) -> None:
    with pytest.raises(DataError, match="holds the data set 'mnist', expected 'kmnist'"):
        prepare("kmnist", str(root / "mnist" / "3.0.1"))


def test_archives_with_one_missing(official: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(official, tmp_path / "archives"))
    (folder / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(DataError, match=r"lacks t10k-labels-idx1-ubyte\.gz\..*Found: t10k-images"):
        prepare("mnist", str(folder))


def test_archive_truncated(official: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(official, tmp_path / "archives"))
    truncate(folder / "train-images-idx3-ubyte.gz")
    with pytest.raises(
        DataError, match=r"train-images-idx3-ubyte\.gz is not the official archive.*SHA-256"
    ):
        prepare("mnist", str(folder))
    assert not (folder / "tfds").exists()


def test_data_dir_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="file: expected a folder, got a file"):
        prepare("mnist", str(tmp_path / "file"))


def test_data_dir_cannot_be_written() -> None:
    # Nobody can make a folder in /proc, not even root, who runs these tests in containers.
    with pytest.raises(DataError, match="data_dir /proc/gauntlet cannot be written: "):
        prepare("mnist", "/proc/gauntlet")


def test_data_dir_is_remote() -> None:
    with pytest.raises(DataError, match="gs://bucket/tfds: expected a local folder"):
        prepare("mnist", "gs://bucket/tfds")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mnsit", "has no data set 'mnsit'. Did you mean mnist, "),
        ("", "has no data set ''"),
        ("a b", "has no data set 'a b'"),
        ("mnist:9.9.9", "cannot load 'mnist:9.9.9'.*only: 3.0.1"),
        (
            "mnist_corrupted/fogg",
            "cannot load 'mnist_corrupted/fogg'.*BuilderConfig fogg not found",
        ),
    ],
)
def test_unknown_data_set(tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        prepare(name, str(tmp_path))


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
    stock.run(stock.Preparation(dataset=str(tmp_path / "images"), root=str(root), config="c"))
    assert (caplog.messages[-1], vars(caplog.records[-1])["progress"]) == ("preparing", (4, 4))
    assert list(root.glob("*/c/*/dataset_info.json"))


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
    with pytest.raises(DataError, match=r"^TFDS ended with code -9 \(killed, or out of memory\)$"):
        stock.run(stock.Preparation(dataset="mnist", root=str(tmp_path)))
    assert f"output of the TFDS child process:\n{tmp_path}" in caplog.text


def test_import_is_light() -> None:
    code = (
        "import sys, components.datasets.prepare;"
        "print({'tensorflow', 'tensorflow_datasets', 'requests'} & set(sys.modules))"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert output.stdout == "set()\n", output.stderr


@pytest.mark.e2e
def test_real_mnist_from_the_first_source_that_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    result = prepare("mnist", str(tmp_path))
    assert result.splits == {"train": 60_000, "test": 10_000}
    assert result.directory == str(tmp_path / "mnist" / "3.0.1")
    assert prepare("mnist", result.directory) == result
