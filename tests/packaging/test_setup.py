"""Set-up scripts and packaging, where they can be tried without making an environment."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from foundation.code import code_of

ROOT = Path(__file__).parents[2]
LOCKS = ("requirements.lock", "requirements-dev.lock", "requirements-peers.lock")
TOOLS = (
    *("bash", "cat", "cksum", "cp", "cut", "dirname", "env", "flock", "getconf", "grep", "head"),
    *("mktemp", "mv", "pwd", "rm", "sed", "sort", "touch", "uname"),
)


def tool_folder(folder: Path, **fakes: str) -> Path:
    """A PATH with a few tools of the system and fake ones that print a text."""
    folder.mkdir()
    for tool in TOOLS:
        if tool not in fakes and (path := shutil.which(tool)):
            (folder / tool).symlink_to(path)
    for tool, text in fakes.items():
        (folder / tool).write_text(f"#!/bin/sh\n{text}\n")
        (folder / tool).chmod(0o755)
    return folder


def script(name: str, *arguments: str, cwd: Path, path: Path) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": str(path), "HOME": str(cwd)}
    command = ["bash", str(cwd / "scripts" / name), *arguments]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """What the set-up needs of a checkout."""
    folder = tmp_path / "checkout"
    shutil.copytree(ROOT / "scripts", folder / "scripts")
    for name in (*LOCKS, "setup.py"):
        shutil.copy(ROOT / name, folder)
    return folder


def test_without_any_python_one_clear_sentence(checkout: Path, tmp_path: Path) -> None:
    done = script("install", cwd=checkout, path=tool_folder(tmp_path / "bin"))
    assert done.returncode == 1
    assert (
        "Python 3.11 is needed, was not found (python3.11, python3, pyenv, uv) and could not be "
        "fetched" in done.stderr
    )
    assert "PYTHON=/path/to/python3.11 make install" in done.stderr
    assert not (checkout / ".venv").exists()


def test_uv_is_asked_for_a_python(checkout: Path, tmp_path: Path) -> None:
    fake_uv = f'echo "uv $*" >> {tmp_path}/calls; [ "$2" = install ]'
    done = script("install", cwd=checkout, path=tool_folder(tmp_path / "bin", uv=fake_uv))
    assert done.returncode == 1
    calls = (tmp_path / "calls").read_text().splitlines()
    assert calls[:2] == ["uv python find --system 3.11", "uv python install 3.11"]


def test_a_finished_set_up_is_left_alone(checkout: Path, tmp_path: Path) -> None:
    """The stamp is what the script would write: then it must end at once, without a word."""
    path = tool_folder(tmp_path / "bin")
    (checkout / ".venv").mkdir()
    stamped = " ".join([*LOCKS, "setup.py", "scripts/install", "scripts/private-glibc"])
    wanted = subprocess.run(
        ["bash", "-c", f"cat {stamped} | cksum; pwd"],
        cwd=checkout, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    (checkout / ".venv" / ".installed").write_text(wanted)
    done = script("install", cwd=checkout, path=path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    (checkout / "requirements.lock").write_text("")
    assert script("install", cwd=checkout, path=path).returncode != 0, (
        "a changed lock file must not be taken for done"
    )


@pytest.mark.parametrize(("days", "asked"), [(29, False), (32, True)])
def test_a_finished_set_up_looks_for_a_newer_glibc_once_a_month(
    checkout: Path, tmp_path: Path, days: int, asked: bool
) -> None:
    path = tool_folder(tmp_path / "bin")
    (path / "find").symlink_to(str(shutil.which("find")))
    environment = checkout / ".venv"
    complete = environment / "lib" / "private-glibc" / "complete"
    for folder in (environment / "bin", complete.parent):
        folder.mkdir(parents=True)
    (environment / "bin" / "python3").write_text("#!/bin/sh\n")
    (environment / "bin" / "python3").chmod(0o755)
    (environment / ".home").write_text(f"{checkout}\n")
    (checkout / "scripts" / "private-glibc").write_text('#!/bin/sh\necho "looks in $1"\n')
    stamped = " ".join([*LOCKS, "setup.py", "scripts/install", "scripts/private-glibc"])
    wanted = subprocess.run(
        ["bash", "-c", f"cat {stamped} | cksum; pwd"],
        cwd=checkout, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    (environment / ".installed").write_text(wanted)
    complete.touch()
    os.utime(complete, (complete.stat().st_mtime - days * 86400,) * 2)
    done = script("install", cwd=checkout, path=path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == ("looks in .venv\n" if asked else "")


@pytest.mark.parametrize("version", ["2.38", "2.41", "3.0"])
def test_private_glibc_does_nothing_on_a_new_system(
    checkout: Path, tmp_path: Path, version: str
) -> None:
    (checkout / "env").mkdir()
    path = tool_folder(tmp_path / "bin", getconf=f"echo glibc {version}")
    done = script("private-glibc", str(checkout / "env"), cwd=checkout, path=path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert os.listdir(checkout / "env") == []


@pytest.mark.parametrize(
    ("fakes", "message"),
    [
        (
            {"uname": '[ "$1" = -s ] && echo Linux || echo aarch64'},
            "for x86_64 only, not for aarch64",
        ),
        ({"uname": '[ "$1" = -s ] && echo Linux || echo x86_64'}, "apt-get or dpkg is missing"),
    ],
    ids=["architecture", "no-apt"],
)
def test_where_no_private_glibc_can_be_had(
    checkout: Path, tmp_path: Path, fakes: dict[str, str], message: str
) -> None:
    (checkout / "env").mkdir()
    path = tool_folder(tmp_path / "bin", getconf="echo glibc 2.36", **fakes)
    done = script("private-glibc", str(checkout / "env"), cwd=checkout, path=path)
    assert done.returncode == 1
    assert "this system has glibc 2.36 and TFX's wheels need 2.38" in done.stderr
    assert message in done.stderr
    assert "Debian 13, Ubuntu 24.04" in done.stderr


@pytest.mark.e2e
def test_the_wheel_has_everything(tmp_path: Path) -> None:
    """Built and unpacked elsewhere, it runs from a folder that is no checkout."""
    source = tmp_path / "source"
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    for name in listed.splitlines():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, source / name)
    build = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        str(tmp_path),
        ".",
    ]
    subprocess.run(build, cwd=source, check=True)
    (wheel,) = tmp_path.glob("gauntlet_tfx-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    code = (
        "import gauntlet.cli, components.datasets.prepare as p, components.schema as s\n"
        "import gauntlet_kubeflow as k\n"
        "from pathlib import Path\n"
        "assert 'int_domain' in s.schema_text('mnist')\n"
        "assert (Path(k.__file__).parent / 'Dockerfile').is_file()\n"
        "from foundation.code import code_of\n"
        "print(gauntlet.cli.__file__, p.__file__, k.__file__, code_of('trainer.train'))"
    )
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "site"), "TF_USE_LEGACY_KERAS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.count(str(tmp_path / "site")) == 3
    assert done.stdout.split()[3] == code_of("trainer.train"), "one key, installed or not"
    assert (
        "gauntlet = gauntlet.cli:main"
        in (tmp_path / "site/gauntlet_tfx-0.2.0.dist-info/entry_points.txt").read_text()
    )
