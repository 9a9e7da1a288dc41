"""A process without network, which writes only where it was told: for work on files of strangers.

    python -m foundation.sandbox TEMPORARY WRITABLE... -- ARGUMENTS_OF_PYTHON

The kernel is asked before anything else runs, in a process of one thread, and holds for all that
comes after, whatever it executes. No privilege is needed. Three parts, each of which a kernel may
lack, which is said and no error:

- seccomp: no socket can be made (so none of the machine's own services is reached either), and no
  mode, owner or attribute of a file is changed.
- Landlock: files are written, made, emptied, renamed and removed only below the folders; devices
  take no commands, except those of graphics cards; signals reach no other process.
- capabilities: root loses all except reading and writing files of others.

Everything can still be read, memory and time are not bounded, and what the process reports can be a
lie: a parent reads it with `values_in`.
"""

import contextlib
import ctypes
import dataclasses
import enum
import errno
import io
import json
import logging
import os
import pathlib
import pickle
import platform
import struct
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from foundation.errors import GauntletError
from foundation.json import dumps
from foundation.stopping import Stopped

VARIABLE = "GAUNTLET_CONFINED"
"""Where a confined process finds what it is confined to."""

SHUT_OFF = "shut off"

NOT_HERE = "not possible here: "

DEVICES = ("null", "nvidia*", "nvidia-caps/*", "dri/*", "kfd")
"""What is written to in /dev: graphics cards take their work that way."""

LACKING = (errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM)
"""What a kernel says, or who stands before it, that has no Landlock."""

OWN_PACKAGES = ("foundation", "robustness", "trainer", "components", "pipeline", "gauntlet")


@dataclass(frozen=True, kw_only=True)
class Confinement:
    """What a process is confined to, in words that a person reads."""

    network: str
    files: str

    def __str__(self) -> str:
        return f"network: {self.network}; files: {self.files}"


@dataclass(frozen=True)
class Sandbox:
    """Where a process may write: folders that exist."""

    writable: tuple[Path, ...]

    def arguments(self, temporary: Path) -> list[str]:
        """What stands between Python and its own arguments to run those confined; they may write
        into a folder of temporary files too."""
        writable = map(os.path.realpath, (temporary, *self.writable))
        return ["-m", "foundation.sandbox", *writable, "--"]


def confinement() -> Confinement | None:
    """What this process is confined to; None where nobody asked for that."""
    told = os.environ.get(VARIABLE)
    return Confinement(**json.loads(told)) if told else None


def confine(temporary: str, *writable: str) -> Confinement:
    """Confine this process, which has one thread, and all that it starts, for ever.

    temporary: folder of its temporary files. writable: other folders where it may write.
    """
    if sys.platform != "linux":
        reason = f"{NOT_HERE}{sys.platform} has no Landlock and no seccomp"
        return Confinement(network=reason, files=reason)
    kernel = Kernel()
    kernel.gain_nothing()
    files = _files(
        kernel, temporary, writable
    )  # first, because seccomp is not asked for files then
    try:
        kernel.filter_calls()
    except OSError as error:
        return Confinement(network=f"{NOT_HERE}seccomp: {error.strerror}", files=files)
    return Confinement(network=SHUT_OFF, files=files)


def _files(kernel: "Kernel", temporary: str, writable: Sequence[str]) -> str:
    try:
        version = kernel.landlock_version()
        kernel.restrict_files(version, (temporary, *writable))
    except OSError as error:
        if error.errno not in LACKING:  # such as a folder that is not there
            raise
        return f"{NOT_HERE}Landlock: {error.strerror}"
    emptied = "" if version >= TRUNCATE_SINCE else "; others can be emptied, as the kernel is old"
    places = " and ".join([*writable, "a folder of its own for temporary files"])
    return f"written only below {places}{emptied}"


class Kernel:
    """The system calls, which Python has no names for."""

    def __init__(self) -> None:
        self._c = ctypes.CDLL(None, use_errno=True)

    def gain_nothing(self) -> None:
        """No program that this process starts has more rights than it has, and root has few."""
        self._prctl(PR_SET_NO_NEW_PRIVS, 1)
        for capability in range(64):
            if capability not in KEPT_CAPABILITIES:
                with contextlib.suppress(OSError):  # who is not root has none to lose
                    self._prctl(PR_CAPBSET_DROP, capability)

    def landlock_version(self) -> int:
        return self._call(LANDLOCK_CREATE_RULESET, None, 0, 1)

    def restrict_files(self, version: int, writable: Iterable[str]) -> None:
        rights = WRITING
        for since, right in ADDED:
            rights |= right if version >= since else 0
        scoped = struct.pack("Q", ALL_SCOPES) if version >= SCOPES_SINCE else b""
        attributes = struct.pack("QQ", rights, 0) + scoped if scoped else struct.pack("Q", rights)
        rules = self._call(LANDLOCK_CREATE_RULESET, attributes, len(attributes), 0)
        for path in writable:
            self._allow(rules, path, rights)
        for pattern in DEVICES:
            for device in sorted(pathlib.Path("/dev").glob(pattern)):
                if not device.is_dir():
                    self._allow(rules, str(device), rights & ON_FILES)
        self._call(LANDLOCK_RESTRICT_SELF, rules, 0)
        os.close(rules)

    def _allow(self, rules: int, path: str, rights: int) -> None:
        opened = os.open(path, os.O_PATH | os.O_CLOEXEC)
        self._call(LANDLOCK_ADD_RULE, rules, 1, struct.pack("=Qi", rights, opened), 0)
        os.close(opened)

    def filter_calls(self) -> None:
        """Refuse the calls of `REFUSED_CALLS`; a call by another machine's numbers ends us."""
        if platform.machine() not in REFUSED_CALLS:
            raise OSError(0, f"unknown for {platform.machine()}")
        architecture, numbers = REFUSED_CALLS[platform.machine()]
        program = calls_refused(architecture, numbers)
        filters = ctypes.create_string_buffer(program, len(program))
        head = struct.pack("HxxxxxxQ", len(program) // 8, ctypes.addressof(filters))
        self._prctl(PR_SET_SECCOMP, 2, head)

    def _prctl(self, option: int, *arguments: Any) -> int:
        filled = [*arguments, 0, 0, 0, 0][:4]
        return self._checked(self._c.prctl(option, *map(_wide, filled)))

    def _call(self, number: int, *arguments: Any) -> int:
        return self._checked(self._c.syscall(ctypes.c_long(number), *map(_wide, arguments)))

    def _checked(self, answer: int) -> int:
        if answer < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        return answer


def _wide(argument: Any) -> Any:
    """Numbers as the kernel reads them; addresses as they are."""
    return ctypes.c_ulong(argument) if isinstance(argument, int) else argument


def calls_refused(architecture: int, numbers: Iterable[int]) -> bytes:
    """A program of the kernel's packet filter that answers "permission denied" to some calls.

    architecture: number that the kernel has for the machine. numbers: of the calls.
    """
    numbers = list(numbers)

    def step(code: int, value: int, yes: int = 0, no: int = 0) -> bytes:
        return struct.pack("HBBI", code, yes, no, value)

    load, equal, at_least, answer = 0x20, 0x15, 0x35, 0x06
    head = [
        step(load, 4), step(equal, architecture, yes=1), step(answer, 0x8000_0000),
        step(load, 0), step(at_least, X32_CALLS, yes=len(numbers) + 1),
    ]  # fmt: skip
    left = reversed(range(len(numbers)))
    tests = [
        step(equal, number, yes=after + 1) for number, after in zip(numbers, left, strict=True)
    ]
    return b"".join([*head, *tests, step(answer, 0x7FFF_0000), step(answer, 0x0005_0000 | 13)])


X32_CALLS = 0x4000_0000
"""From this number on they are those of another convention, which reach the same."""

PR_SET_SECCOMP, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 22, 24, 38

KEPT_CAPABILITIES = (1, 2)
"""Writing and reading files of others, which Landlock bounds."""

LANDLOCK_CREATE_RULESET, LANDLOCK_ADD_RULE, LANDLOCK_RESTRICT_SELF = 444, 445, 446

WRITING = 1 << 1 | sum(1 << right for right in range(4, 13))
"""Writing to a file; making and removing each kind of file."""

TRUNCATE_SINCE, SCOPES_SINCE = 3, 6

ADDED = ((2, 1 << 13), (TRUNCATE_SINCE, 1 << 14), (5, 1 << 15))
"""By the version of Landlock: renaming between folders, emptying, commands to devices."""

ON_FILES = 1 << 1 | 1 << 14 | 1 << 15
"""The rights that a file can have that is no folder."""

ALL_SCOPES = 1 << 0 | 1 << 1
"""Abstract sockets and signals of other processes are out of reach."""

REFUSED_CALLS = {
    "x86_64": (
        0xC000_003E,
        [
            *(41, 42, 49, 53),  # socket, connect, bind, socketpair
            *(90, 91, 92, 93, 94, 260, 268),  # chmod, chown and their kind
            *(188, 189, 190, 197, 198, 199),  # setxattr, removexattr and their kind
            *(425, 452, 463, 466),  # io_uring_setup, which would get past; fchmodat2, ...xattrat
        ],
    ),
    "aarch64": (
        0xC000_00B7,
        [
            *(198, 203, 200, 199),
            *(52, 53, 54, 55),
            *(5, 6, 7, 14, 15, 16),
            *(425, 452, 463, 466),
        ],
    ),
}
"""The kernel's number of a machine, and the calls that are refused by their numbers there."""


def values_in(pickled: bytes) -> Any:
    """What a confined process sent: values, and objects of ours that hold values. Nothing else is
    made of it, so that it cannot have its parent run anything.

    Raises:
        pickle.UnpicklingError: it sent something else.
    """
    try:
        return _Values(io.BytesIO(pickled)).load()
    except pickle.UnpicklingError:
        raise
    except Exception as error:  # anything may be wrong with what is no report
        raise pickle.UnpicklingError(f"it sent what is no report: {error}") from error


class _Values(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("builtins", "getattr"):
            return _member
        if (module, name) in VALUES or module.partition(".")[0] in OWN_PACKAGES:
            found = super().find_class(module, name)
            if (module, name) in VALUES or _holds_values(found):
                return found
        raise pickle.UnpicklingError(f"a confined process sent {module}.{name}")


def _member(kind: type[enum.Enum], name: str) -> enum.Enum:
    """A member of an enum, which Python pickles in one of two ways."""
    if not isinstance(kind, enum.EnumMeta):
        raise pickle.UnpicklingError(f"a confined process sent an attribute of {kind}")
    return kind[name]


def _holds_values(found: Any) -> bool:
    kinds = (enum.Enum, GauntletError)
    return isinstance(found, type) and (dataclasses.is_dataclass(found) or issubclass(found, kinds))


VALUES = {
    (kind.__module__, kind.__qualname__) for kind in (logging.LogRecord, Stopped, type(Path()))
}  # fmt: skip


def main() -> None:
    """Confine this process, and become what it is for."""
    end = sys.argv.index("--")
    os.environ[VARIABLE] = dumps(confine(*sys.argv[1:end]), indent=None)
    os.execv(sys.executable, [sys.executable, *sys.argv[end + 1 :]])


if __name__ == "__main__":
    main()
