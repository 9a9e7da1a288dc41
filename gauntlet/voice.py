"""The console of a command: its result, and what it says besides, as loud as the user wants."""

from pathlib import Path

from rich.console import Console
from rich.markup import escape

from foundation.whole import is_stdout
from gauntlet.loudness import Line, Loudness, loudness


class Voice(Console):
    """Prints a command's result: on standard error where JSON goes to standard output, which a
    program may read, and nowhere where the lines of `--log-json` go to standard error then."""

    def __init__(self, json_file: Path | None = None, stderr: bool = False) -> None:
        taken = json_file is not None and is_stdout(json_file)
        self.loudness = loudness()
        super().__init__(stderr=stderr or taken, quiet=taken and self.loudness is Loudness.LOG_JSON)


def loudness_of(console: Console) -> Loudness:
    """How much is said beside what the console prints."""
    return console.loudness if isinstance(console, Voice) else Loudness.NORMAL


def say(console: Console, text: str) -> None:
    """What a user may want to know beside the result."""
    _say(console, "info", "", text)


def note(console: Console, text: str) -> None:
    """What a user should know beside the result."""
    _say(console, "warning", "[yellow]Note:[/] ", text)


def _say(console: Console, level: str, word: str, text: str) -> None:
    match loudness_of(console):
        case Loudness.QUIET:
            return
        case Loudness.LOG_JSON:
            Line(level=level, message=text).write()
        case _:
            console.print(f"{word}{escape(text)}", highlight=False, soft_wrap=True)
