"""`prepare` of a named data set: where it comes from, and where it goes."""

import dataclasses
import shutil
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from tiny_mnist import TEST, TRAIN, truncate, use_default_root

from components.datasets import stock
from components.datasets.prepare import PreparedDataset, found, prepare
from components.mirrors import mirror
from components.mirrors.archives import Checksum
from foundation.errors import ConfigError, DataError
from pipeline.root.root import Root

pytestmark = pytest.mark.usefixtures("tiny_mnist")


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


@pytest.mark.parametrize("where", [".", "mnist", "mnist/3.0.1"], ids=["root", "parent", "version"])
def test_what_is_prepared_is_found_as_it_is_prepared(root: Path, where: str) -> None:
    assert found("mnist", str(root / where)) == prepare("mnist", str(root / where))


def test_what_is_not_prepared_is_not_found_and_not_fetched(
    official: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(shutil.copytree(official, tmp_path / "archives"))
    use_default_root(monkeypatch, tmp_path / "default")
    forbid_network(monkeypatch)
    before = sorted(tmp_path.rglob("*"))
    for data_dir in (str(folder), str(tmp_path / "none"), None):
        assert found("mnist", data_dir) is None
    assert sorted(tmp_path.rglob("*")) == before


def test_what_was_prepared_of_archives_is_found(official: Path, tmp_path: Path) -> None:
    folder = str(shutil.copytree(official, tmp_path / "archives"))
    assert prepare("mnist", folder) == found("mnist", folder)


def test_default_root_is_used_without_data_dir(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_default_root(monkeypatch, root)
    forbid_network(monkeypatch)
    assert prepare("mnist", None).directory == str(root / "mnist" / "3.0.1")


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
    with pytest.raises(ConfigError, match=message):
        prepare(name, str(tmp_path))


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
