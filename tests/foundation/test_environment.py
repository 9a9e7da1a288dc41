"""The environment does not decide: what our processes get, whatever shell and home folder say."""

import json
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections import namedtuple
from pathlib import Path
from typing import Any

import pytest

from foundation import environment
from foundation.environment import (
    CHANGE_NUMBERS,
    ENVIRONMENT,
    LEFT_OUT,
    ROOM,
    check_temporary_folder,
    child_environment,
    numbers,
    overruled,
    unset,
)
from foundation.errors import ConfigError, RunError
from foundation.process import Child

SOMEONE = {"HOME": "/home/someone", "USER": "someone"}

KERAS = {"floatx": "float16", "epsilon": 0.1, "backend": "jax"}
KERAS["image_data_format"] = "channels_first"

SETTINGS = {
    "KERAS_BACKEND": "torch",
    "KERAS_MAX_EPOCHS": "1",
    "TF_USE_LEGACY_KERAS": "0",
    "TF_XLA_FLAGS": "--tf_xla_auto_jit=2",
    "TF_ENABLE_ONEDNN_OPTS": "0",
    "PYTHONWARNINGS": "error",
    "PYTHONOPTIMIZE": "2",
    "PYTHONHASHSEED": "7",
    "PYTHONUTF8": "0",
    "LC_ALL": "C",
    "LANG": "C",
    "OMP_NUM_THREADS": "0",
    "TF_NUM_INTRAOP_THREADS": "many",
    "MPLBACKEND": "nonsense",
}


@pytest.mark.parametrize("name", LEFT_OUT)
def test_what_changes_numbers_or_breaks_libraries_is_left_out(name: str) -> None:
    assert name not in child_environment({name: "1", **SOMEONE}, {})


@pytest.mark.parametrize("name", ENVIRONMENT)
def test_what_is_pinned_has_one_value(name: str) -> None:
    for given in ({}, {name: "other"}):
        assert child_environment(SOMEONE | given, {})[name] == ENVIRONMENT[name]


@pytest.mark.parametrize(
    ("value", "kept"),
    [("2", True), ("4,2", True), ("0", False), ("many", False), ("", False), ("-1", False)],
)
@pytest.mark.parametrize("name", environment.THREADS)
def test_numbers_of_threads_are_numbers(name: str, value: str, kept: bool) -> None:
    assert (name in child_environment({name: value, **SOMEONE}, {})) == kept


def test_everything_else_is_handed_on_and_a_child_may_have_more() -> None:
    given = {"CUDA_VISIBLE_DEVICES": "1", "TFDS_DATA_DIR": "/d", "http_proxy": "x", **SOMEONE}
    made = child_environment(given, {"CUDA_VISIBLE_DEVICES": "-1"})
    assert made.items() >= (given | {"CUDA_VISIBLE_DEVICES": "-1"}).items()


def test_a_user_without_a_name_or_a_home_gets_both(monkeypatch: pytest.MonkeyPatch) -> None:
    known = namedtuple("known", "pw_name pw_dir")("somebody", "/home/somebody")
    monkeypatch.setattr(pwd, "getpwuid", lambda _: known)
    assert child_environment({}, {}).items() >= {
        ("HOME", "/home/somebody"),
        ("LOGNAME", "somebody"),
    }
    assert child_environment({"HOME": "/h"}, {})["HOME"] == "/h"

    def unknown(_: int) -> Any:
        raise KeyError("getpwuid(): uid not found")

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    made = child_environment({"HOME": ""}, {})
    assert made["LOGNAME"] == f"user-{os.getuid()}"
    assert made["HOME"] == f"{tempfile.gettempdir()}/gauntlet-home-{os.getuid()}"
    assert "LOGNAME" not in child_environment(SOMEONE, {})


def test_what_a_user_may_set_and_changes_numbers_is_part_of_keys() -> None:
    """Each of them makes another key, and nothing else does."""
    keys = {numbers({name: "1"}) for name in CHANGE_NUMBERS}
    assert len(keys) == len(CHANGE_NUMBERS)
    assert numbers({}) == numbers({"PATH": "/bin", CHANGE_NUMBERS[0]: ""}) == ""
    assert not {*CHANGE_NUMBERS} & {*LEFT_OUT, *ENVIRONMENT}


def test_variables_are_set_again_after_their_absence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XLA_FLAGS", "--a")
    monkeypatch.delenv("TF_DETERMINISTIC_OPS", raising=False)
    before = dict(os.environ)

    def computes() -> None:
        assert numbers(os.environ) == ""
        raise KeyError("died")

    with pytest.raises(KeyError, match="died"), unset(CHANGE_NUMBERS):
        computes()
    assert dict(os.environ) == before


def test_what_a_user_set_in_vain_is_named() -> None:
    given = {"KERAS_BACKEND": "jax", "TF_XLA_FLAGS": "x", "TF_USE_LEGACY_KERAS": "1", **SOMEONE}
    assert overruled(given) == ["KERAS_BACKEND=jax", "TF_XLA_FLAGS=x"]
    assert overruled({"TF_CPP_MIN_LOG_LEVEL": "0", "TF_CONFIG": "{}", **SOMEONE}) == []


def settings_of_libraries() -> dict[str, Any]:
    """What Keras and TensorFlow have taken from the environment of this process."""
    import keras
    import tf_keras

    old, new = tf_keras.backend, keras.backend
    return {
        "backend": new.backend(),
        "float": [old.floatx(), new.floatx()],
        "epsilon": [old.epsilon(), new.epsilon()],
        "format": [old.image_data_format(), new.image_data_format()],
        "assertions": __debug__,
        "utf8": sys.flags.utf8_mode,
        "hash": hash("one of a kind"),
    }


def test_keras_and_python_are_what_we_rely_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With every setting wrong that a shell and a home folder can hold."""
    (tmp_path / ".keras").mkdir()
    (tmp_path / ".keras" / "keras.json").write_text(json.dumps(KERAS))
    for name, value in (SETTINGS | {"HOME": str(tmp_path)}).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parent), *sys.path]))
    found = Child("test_environment:settings_of_libraries").result(300)
    assert found.pop("hash") == int(
        subprocess.run(
            [sys.executable, "-c", "print(hash('one of a kind'))"],
            env={"PYTHONHASHSEED": "0"}, capture_output=True, check=True,
        ).stdout
    )  # fmt: skip
    assert found == {
        "backend": "tensorflow",
        "float": ["float32", "float32"],
        "epsilon": [1e-7, 1e-7],
        "format": ["channels_last", "channels_last"],
        "assertions": True,
        "utf8": 1,
    }


def test_a_folder_for_temporary_files_that_is_none_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (file := tmp_path / "file").touch()
    for folder, reason in ((tmp_path / "none", "No such file"), (file, "Not a directory")):
        monkeypatch.setenv("TMPDIR", str(folder))
        with pytest.raises(RunError, match=f"TMPDIR={folder} cannot be used: {reason}.*; set"):
            check_temporary_folder()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "a*b"))
    with pytest.raises(ConfigError, match=r"TMPDIR .* for a pattern"):
        check_temporary_folder()
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    check_temporary_folder()


def test_a_folder_for_temporary_files_without_room_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=ROOM - 1))
    with pytest.raises(RunError, match=r"has 64 MB left, expected 64; make room, or set TMPDIR"):
        check_temporary_folder()
