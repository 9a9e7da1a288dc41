"""Child processes that end with their parent."""

import ctypes
import signal
import sys

PR_SET_PDEATHSIG = 1


def end_with_parent() -> None:
    """Have the kernel kill this process when its parent dies, however that happens (Linux;
    elsewhere nothing).

    A killed command line would otherwise leave a child that goes on and holds the root's lock.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
