"""A process that ends when the one that started it does, however that happens.

A script that goes in front of a program, which then takes its place:

    python -I -S leash.py PARENT SIGNAL PROGRAM ARGUMENT...

On Linux the kernel tells of the end of the *thread* that started a process; so start one from a
thread that waits for it. Imports nothing of ours: the script finds none of it.
"""

import signal

if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends us here as it would the program

import ctypes
import os
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    """Have the kernel send the signal to this process when its parent ends, end at once where that
    has happened before we asked, and become the program."""
    parent, number, *program = sys.argv[1:]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(number))
    if os.getppid() != int(parent):
        sys.exit(1)
    for changed_by_python in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(changed_by_python, signal.SIG_DFL)
    try:
        os.execvp(program[0], program)
    except OSError as error:
        sys.exit(f"{program[0]} cannot be run: {error.strerror}")


if __name__ == "__main__":
    main()
