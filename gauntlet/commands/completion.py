"""`gauntlet completion`: what a shell needs to complete commands, options and values."""

import click

from gauntlet.completion import Shell, script
from gauntlet.parameters import Choices


@click.command
@click.argument("shell", type=Choices(Shell))
def completion(shell: Shell) -> None:
    """Print what SHELL (bash, zsh or fish) needs to complete commands, options and values.

    \b
      eval "$(gauntlet completion bash)"         # bash: this line into ~/.bashrc
      eval "$(gauntlet completion zsh)"          # zsh: into ~/.zshrc, after compinit
      source (gauntlet completion fish | psub)   # fish: into ~/.config/fish/config.fish

    It completes presets, names of settings after --set, attacks, and every choice that --help
    lists. `gauntlet` must be on the path: source .venv/bin/activate.
    """
    click.echo(script(shell))
