"""Commands in shells that are set up badly: they work all the same, or say at once what to mend."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from bright_images import classifier, write_images

GAUNTLET = str(Path(sys.executable).parent / "gauntlet")

ASCII = {"LC_ALL": "C", "LANG": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
"""Python decodes and prints as ASCII."""

BAD = ASCII | {
    "KERAS_BACKEND": "torch",
    "TF_USE_LEGACY_KERAS": "0",
    "TF_XLA_FLAGS": "--tf_xla_auto_jit=2",
    "TF_ENABLE_ONEDNN_OPTS": "0",
    "PYTHONWARNINGS": "error",
    "PYTHONOPTIMIZE": "2",
    "PYTHONHASHSEED": "7",
    "OMP_NUM_THREADS": "0",
    "TF_NUM_INTRAOP_THREADS": "many",
    "MPLBACKEND": "nonsense",
    "http_proxy": "http://127.0.0.1:1",
    "https_proxy": "nonsense",
    "all_proxy": "socks5://nowhere",
}

NOBODY = ["setpriv", "--reuid=12345", "--regid=12345", "--clear-groups"]
"""A user whom the system does not know."""

as_root = pytest.mark.skipif(
    os.getuid() != 0 or not shutil.which("setpriv"), reason="becomes another user, mounts a disk"
)


def gauntlet(
    *arguments: str | Path,
    cwd: Path,
    user: list[str] | None = None,
    without: tuple[str, ...] = (),
    **environment: str,
) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if name not in without}
    return subprocess.run(
        [*(user or []), GAUNTLET, *map(str, arguments)],
        cwd=cwd, env=kept | environment, capture_output=True, text=True, timeout=600,
    )  # fmt: skip


@pytest.mark.parametrize(
    "environment",
    [ASCII, {"PYTHONWARNINGS": "error"}, {"PYTHONOPTIMIZE": "2"}, {"PYTHONHASHSEED": "7"}, BAD],
    ids=["ascii", "warnings", "optimized", "hashes", "all"],
)
def test_a_command_works_and_names_are_unicode(environment: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "Größe 猫").mkdir()
    done = gauntlet(
        "gates", "--preset", "smoke", "--json", "Größe 猫/gates.json", cwd=tmp_path, **environment
    )
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "Größe 猫" / "gates.json").read_text())


def test_letters_that_a_terminal_does_not_have_are_numbers(tmp_path: Path) -> None:
    write_images(tmp_path / "猫")
    done = gauntlet("gates", "--set", "data.dataset=./猫", cwd=tmp_path, PYTHONIOENCODING="ascii")
    assert done.returncode == 0, done.stderr
    assert "\\u732b" in done.stdout


@pytest.mark.parametrize("kind", ["missing", "a file"])
def test_a_folder_for_temporary_files_that_is_none(kind: str, tmp_path: Path) -> None:
    folder = tmp_path / "tmp"
    if kind == "a file":
        folder.touch()
    done = gauntlet("gates", cwd=tmp_path, TMPDIR=str(folder))
    assert done.returncode == 1
    assert f"TMPDIR={folder} cannot be used" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of one megabyte."""
    (folder := tmp_path / "disk").mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)])
    if mounted.returncode:
        pytest.skip("nothing can be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@as_root
def test_a_full_folder_for_temporary_files(small_disk: Path, tmp_path: Path) -> None:
    done = gauntlet("gates", cwd=tmp_path, TMPDIR=str(small_disk))
    assert done.returncode == 1
    assert "has 1 MB left, expected 64; make room, or set TMPDIR" in done.stderr


@as_root
def test_a_user_without_a_home_has_none_to_name(tmp_path: Path) -> None:
    done = gauntlet(
        "models", "--root", "~/runs", cwd=tmp_path, user=NOBODY, without=("HOME", "USER", "LOGNAME")
    )
    assert done.returncode == 2
    assert "~/runs: this user has no home folder; write the whole path" in done.stderr


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder in which everybody may write; pytest closes its own to others."""
    folder = Path(tempfile.mkdtemp(prefix="gauntlet test "))
    folder.chmod(0o777)
    yield folder
    shutil.rmtree(folder)


@pytest.mark.slow
@as_root
def test_nobody_with_everything_set_wrong_gets_the_same_numbers(open_folder: Path) -> None:
    """The user's own `keras.json` among it."""
    write_images(open_folder / "Bilder ä 猫")
    classifier(0.39).save(open_folder / "netz ä.keras")
    (home := open_folder / "home" / ".keras").mkdir(parents=True)
    settings = {"floatx": "float16", "backend": "jax", "image_data_format": "channels_first"}
    (home / "keras.json").write_text(json.dumps(settings))

    def evaluated(name: str, **how: Any) -> Any:
        done = gauntlet(
            "evaluate", "netz ä.keras", "--dataset", "./Bilder ä 猫", "--data-dir", f"Daten {name}",
            "--attacks", "fgsm,pgd", "--epsilon", "0.19", "--no-checks", "--output", f"ä {name}",
            "--json", f"{name}.json", cwd=open_folder, **how,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        (result,) = json.loads((open_folder / f"{name}.json").read_text())["results"]
        return {key: value for key, value in result.items() if "seconds" not in key}, done.stdout

    plain, _ = evaluated("plain")
    bare, said = evaluated("bare", user=NOBODY, without=("HOME", "USER", "LOGNAME"), **BAD)
    at_home, _ = evaluated("at home", user=NOBODY, HOME=str(home.parent))  # which is read-only
    for result in (plain, bare, at_home):
        del result["examples_file"]
    assert plain == bare == at_home
    assert 0.0 < plain["worst_case"] < 1.0
    assert "KERAS_BACKEND=torch" in said
    assert "of the shell is not used" in said
    assert not (open_folder / "~").exists()
