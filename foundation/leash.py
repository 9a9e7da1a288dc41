"""A process that ends when the one that started it does, however that happens.

As a script it goes in front of a program of somebody else's, which then takes its place:

    python -I -S leash.py PARENT SIGNAL PROGRAM ARGUMENT...

On Linux the kernel tells of the end of the *thread* that started a process; so start one from a
thread that waits for it. Imports nothing of ours: the script finds none of it.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def end_with(parent: int, number: int = signal.SIGKILL) -> None:
    """Have the kernel send a signal to this process when its parent ends, and end at once where
    that has happened before we asked."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, number)
    if os.getppid() != parent:
        os._exit(1)


def main() -> None:
    """Become the program."""
    end_with(int(sys.argv[1]), int(sys.argv[2]))
    for changed_by_python in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(changed_by_python, signal.SIG_DFL)
    program = sys.argv[3:]
    try:
        os.execvp(program[0], program)
    except OSError as error:
        sys.exit(f"{program[0]}: {error.strerror}")


if __name__ == "__main__":
    main()
