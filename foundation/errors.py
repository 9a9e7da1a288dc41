"""The exception tree. It lives in the lowest layer so that every layer can raise from it.

The command line shows the message of a `GauntletError` without a traceback; whatever else is raised
is a defect of ours and goes to the log with its traceback.
"""


class GauntletError(Exception):
    """A mistake or failure that the user can understand and act on."""


class ConfigError(GauntletError):
    """A setting is unknown or has a value that cannot be used (exit code 2)."""


class DataError(GauntletError):
    """Data is missing, damaged, or breaks the schema."""


class RunError(GauntletError):
    """A run cannot start or go on: the root is in use, a disk is full, an attack left its ball."""
