"""The exception tree, with the exit code that the command line ends with.

    GauntletError          1   a mistake or failure that the user can understand and act on
      ConfigError          2   a setting that cannot be used
      DataError            1   data is missing or damaged
        RefusedData        4   data is whole, and is not what it has to be
      RunError             1   a run cannot start or go on
        ProcessDied        1   a process of ours ended, or was ended, without a word
        Defect             1   an error of ours in another process; the log has its traceback
        Refused            3   on a platform, where only an error ends a run without success

A command whose model was refused ends with `REFUSED`, one that was stopped with `INTERRUPTED`; both
are no errors there. The tree lives in
the lowest layer so that every layer can raise from it. The command line shows the message of a
`GauntletError` without a traceback; whatever else is raised is a defect of ours and goes to the log
with its traceback.
"""

from typing import ClassVar

REFUSED = 3
"""Exit code of a run that did all its work and pushed nothing, and of a check that a model does not
pass."""

REFUSED_DATA = 4
"""Exit code where the data was refused."""

INTERRUPTED = 130
"""Exit code of what was stopped by Ctrl-C, SIGTERM or SIGHUP, as shells have it for the first."""


class GauntletError(Exception):
    """A mistake or failure that the user can understand and act on."""

    exit_code: ClassVar[int] = 1


class ConfigError(GauntletError):
    """A setting is unknown or has a value that cannot be used."""

    exit_code = 2


class DataError(GauntletError):
    """Data is missing, damaged, or breaks the schema."""


class RefusedData(DataError):
    """Data can be read, and nothing may be trained or judged on it: it breaks the schema, has
    drifted, has other classes, lacks some, or holds images that cannot be taken."""

    exit_code = REFUSED_DATA


class RunError(GauntletError):
    """A run cannot start or go on: the root is in use, a disk is full, an attack left its ball."""


class ProcessDied(RunError):
    """A process of ours was killed, ran out of memory, or did not answer in time."""


class Defect(RunError):
    """What failed in a process of ours is none of these errors; its own log has the traceback."""


class Refused(RunError):
    """Nothing was pushed, and a run on a platform shall end without success for that."""

    exit_code = REFUSED
