"""`gauntlet`: the list of commands, and how their errors become exit codes.

`--help` imports none of the commands; a command is imported when it is called.
"""

import importlib
from typing import Any

import click
from click.shell_completion import CompletionItem

from gauntlet.start import check_packages, speak_utf8

COMMANDS = {
    "run": "Train, attack, judge; push the model or refuse it.",
    "check": "Gate a model that exists: exit code 0 or 3.",
    "evaluate": "Attack and certify any model, yours included.",
    "gates": "Show what a model must reach to be pushed.",
    "init": "Write settings that fit a folder of images.",
    "config": "Show and explain all settings.",
    "runs": "List the runs and what became of them.",
    "show": "Print the results of a run again.",
    "compare": "Compare two runs: settings, numbers, gates.",
    "models": "List the pushed versions; the newest is served.",
    "rollback": "Serve an earlier version again.",
    "bless": "Push a refused model, in an emergency.",
    "predict": "Classify PNG files with the served model.",
    "clean": "Remove what no kept run or pushed model needs.",
    "prepare": "Prepare data for a cluster that fetches none.",
    "image": "Build the container images for a cluster.",
    "compile": "Write the pipeline for Vertex AI or Kubeflow.",
    "submit": "Run a compiled pipeline on a platform.",
    "deploy": "Serve a pushed model on KServe or Vertex AI.",
    "completion": "Complete commands in bash, zsh or fish.",
}
"""The commands by use, each with its line in the list."""


EXIT_CODES = (
    "Exit codes of all commands: 0 done or passed, 1 failure, 2 wrong usage, 3 refused by a gate, "
    "4 data refused (schema, drift, classes, images), 130 interrupted."
)


class LazyGroup(click.Group):
    """A group whose commands are the functions of their names in `gauntlet.commands`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order of `COMMANDS`."""
        return list(self.commands)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command itself, imported."""
        if cmd_name not in self.commands:
            return None
        command = getattr(importlib.import_module(f"gauntlet.commands.{cmd_name}"), cmd_name)
        assert isinstance(command, click.Command)
        command.epilog = EXIT_CODES
        return command

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Names of commands, of which none is imported for it, or the group's own options."""
        found = {name: line for name, line in self.commands.items() if name.startswith(incomplete)}
        items = [CompletionItem(name, help=line.help) for name, line in found.items()]
        return [*items, *click.Command.shell_complete(self, ctx, incomplete)]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of commands, of which none is imported for it."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line.help or "") for name, line in self.commands.items()])

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command, and end with its exit code."""
        speak_utf8()
        check_packages()
        from foundation.environment import check_temporary_folder
        from gauntlet.errors import ended  # which imports packages that had to be checked first

        def begin() -> Any:
            check_temporary_folder()
            return super(LazyGroup, self).invoke(ctx)

        ctx.exit(ended(begin))


@click.group(
    cls=LazyGroup,
    commands={name: click.Command(name, help=line) for name, line in COMMANDS.items()},
    epilog=EXIT_CODES,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(package_name="gauntlet-tfx")
def main() -> None:
    """Train an image classifier, attack it, and ship it only if it survives.

    \b
    Start here:
      gauntlet run                     train a robust model on real MNIST, attack it, push it
      gauntlet run --preset smoke      the same pipeline on a few thousand images
      gauntlet check MODEL             a gate for any model, in CI
      gauntlet init --data ./pets      settings that fit your own images
      gauntlet gates                   what a model must reach to be pushed
      gauntlet evaluate MODEL          attack and certify any model, yours included
    """
