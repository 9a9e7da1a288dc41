"""What the text of an argument or option may be, and what a command gets for it."""

import datetime
import errno
import json
import os
import re
import tempfile
from enum import StrEnum
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import click
from click.shell_completion import CompletionItem

from foundation.errors import ConfigError, RunError
from foundation.paths import check_no_pattern
from foundation.ranges import quotient
from foundation.whole import is_stream
from pipeline.root.root import Root
from robustness.config import AttackName
from robustness.suites import named

E = TypeVar("E", bound=StrEnum)


class Choices(click.Choice[E]):
    """One member of an enum, by its value."""

    def normalize_choice(self, choice: object, ctx: click.Context | None) -> str:
        return str(choice)


class Attacks(click.ParamType):
    """Attacks with commas between them, each as `robustness.suites.named` takes it."""

    name = "list"

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        if not isinstance(value, str):  # a default
            return value
        texts = tuple(text.strip() for text in value.split(",") if text.strip())
        for text in texts or ("",):
            named(text)
        return texts

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        before, comma, begun = incomplete.rpartition(",")
        return [
            CompletionItem(f"{before}{comma}{name}")
            for name in AttackName
            if name.startswith(begun)
        ]


class Names(click.ParamType):
    """Names of classes with commas between them, or as a list of JSON."""

    name = "names"

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        if not isinstance(value, str):  # a default
            return value
        names = _names_of(value)
        if not names or not all(isinstance(name, str) and name.strip() for name in names):
            raise ConfigError(
                "expected names with commas between them, or a list of names as JSON, got "
                f"{value!r}"
            )
        return tuple(name.strip() for name in names)


def _names_of(text: str) -> list[Any]:
    """Names of a list, which is written as JSON where a name may have a comma itself."""
    if not (text.strip().startswith("[") and text.strip().endswith("]")):
        return list(text.split(","))
    try:
        return list(json.loads(text))
    except ValueError:
        return []


class HeightAndWidth(click.ParamType):
    """`H,W` as a pair of numbers."""

    name = "H,W"

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        if not (found := re.fullmatch(r"\s*([1-9]\d{0,4})\s*,\s*([1-9]\d{0,4})\s*", str(value))):
            raise ConfigError(f"expected height and width, such as 32,32, got {value!r}")
        return int(found[1]), int(found[2])


class Age(click.ParamType):
    """A time as a number and its unit, such as 30d."""

    name = "age"
    _UNITS: ClassVar = {"h": "hours", "d": "days", "w": "weeks"}

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        if not (found := re.fullmatch(r"([1-9]\d{0,4})([hdw])", str(value))):
            raise ConfigError(f"expected a number of h, d or w, such as 30d, got {value!r}")
        return datetime.timedelta(**{self._UNITS[found[2]]: int(found[1])})


class Duration(click.ParamType):
    """A time as a number and its unit, such as 10m, in seconds."""

    name = "time"
    _UNITS: ClassVar = {"s": 1, "m": 60, "h": 3600}

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        if isinstance(value, float):  # as it came
            return value
        if not (found := re.fullmatch(r"([1-9]\d{0,5})([smh])", str(value))):
            raise ConfigError(f"expected a number of s, m or h, such as 10m, got {value!r}")
        return float(int(found[1]) * self._UNITS[found[2]])


class ShareOfAll(click.ParamType):
    """A share of all, in [0, 1]."""

    name = "share"

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        try:
            share = float(value)
        except ValueError:
            share = float("nan")
        if not 0.0 <= share <= 1.0:
            option = param.opts[0] if param else "a share"
            raise ConfigError(f"{option} is a share in [0, 1], such as 0.9, got {value!r}")
        return share


class Epsilon(click.ParamType):
    """A radius: a number, or a fraction such as 8/255."""

    name = "epsilon"

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        try:
            number = quotient(str(value))
            return float(value) if number is None else number
        except ValueError:
            raise ConfigError(
                f"epsilon is a number or a fraction, such as 0.1 or 8/255, got {value!r}"
            ) from None


class LocalPath(click.Path):
    """The absolute path of a local file or folder; an address such as gs://bucket is a
    ConfigError."""

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        return local_path(value)


class PlainFolder(LocalPath):
    """As `LocalPath`, for a folder in which libraries look for files by patterns: a name that looks
    like one is a ConfigError."""

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        folder = local_path(value)
        check_no_pattern(param.opts[0] if param else "the folder", folder)
        return folder


class ExistingRoot(click.Path):
    """The `Root` in a local folder, which must be there."""

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        folder = local_path(value)
        check_no_pattern("the root", folder)
        try:
            os.listdir(folder)  # what cannot be read would pass for empty
        except PermissionError as error:
            raise ConfigError(f"the root {folder} cannot be read: {error.strerror}") from error
        except OSError as error:
            raise ConfigError(
                f"there is no folder {folder}; name the root of a pipeline with --root"
            ) from error
        root = Root(folder.resolve())  # by one name, whichever links lead there
        root.share()
        return root


class OutputFile(click.Path):
    """The absolute path of a file that can be written."""

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        check_writable(file := Path(value).absolute())
        return file


class InputFile(click.Path):
    """The absolute path of a file that can be read."""

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        file = Path(value).expanduser().absolute()
        if file.is_fifo():  # which may have no writer, and then opening it never ends
            raise ConfigError(f"{file} is a pipe, expected a file")
        try:
            file.open("rb").close()
        except OSError as error:
            raise ConfigError(f"{file} cannot be read: {error.strerror}") from error
        return file


LOCAL_PATH, PLAIN_FOLDER, EXISTING_ROOT = LocalPath(), PlainFolder(), ExistingRoot()
INPUT_FILE, OUTPUT_FILE = InputFile(), OutputFile()
ATTACKS = Attacks()
NAMES = Names()
SIZE = HeightAndWidth()
AGE, TIME, SHARE, EPSILON = Age(), Duration(), ShareOfAll(), Epsilon()


def local_path(text: str) -> Path:
    """The absolute path of a local file or folder; raises ConfigError for an address."""
    if "://" in text:
        raise ConfigError(
            f"expected a local folder, got {text}; copy the data to one, or compile for a platform"
        )
    try:
        return Path(text).expanduser().absolute()
    except RuntimeError as error:
        raise ConfigError(f"{text}: this user has no home folder; write the whole path") from error


def created(folder: Path, option: str) -> Path:
    """The folder that an option names, created; raises RunError when it cannot be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError as error:
        raise RunError(
            f"cannot write to the {option} {folder}: {error.strerror}; name another with --{option}"
        ) from error


def check_writable(file: Path) -> None:
    """Raises RunError unless the file can be written; leaves things as they are. A pipe is not
    opened: its reader would take that for the end."""
    existed = file.exists()
    try:
        if is_stream(file):
            if not os.access(file, os.W_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
            return
        with open(file, "a"):
            pass
    except OSError as error:
        raise RunError(f"cannot write {file}: {error.strerror}") from error
    if not existed:
        file.unlink(missing_ok=True)
