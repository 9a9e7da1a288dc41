"""What shells complete, asked as the shells ask."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.shell_completion import ShellComplete

from gauntlet.cli import COMMANDS, main
from gauntlet.completion import Shell
from pipeline.definition.presets import PRESETS

PROGRAM = Path(sys.executable).with_name("gauntlet")

ASKED = {
    Shell.BASH: """
eval "$(gauntlet completion bash)"
COMP_WORDS=({words}"") COMP_CWORD={last}
{word}
_gauntlet_completion gauntlet
printf '%s\\n' "${{COMPREPLY[@]}}"
""",
    Shell.ZSH: """
autoload -Uz compinit && compinit -u -d "$HOME/dump"
eval "$(gauntlet completion zsh)"
words=({words}"{incomplete}") CURRENT={current}
_describe() {{ print -l $completions_with_descriptions }}
compadd() {{ print -l $completions }}
_gauntlet_completion
""",
    Shell.FISH: """
source (gauntlet completion fish | psub)
complete --do-complete "{line}"
""",
}


def completed(shell: Shell, line: str, home: Path) -> list[str]:
    """What the shell offers for the last word of a line."""
    if not shutil.which(shell):
        pytest.skip(f"there is no {shell} here")
    *before, incomplete = line.split(" ")
    script = ASKED[shell].format(
        words="".join(f"{word} " for word in before),
        last=len(before),
        current=len(before) + 1,
        incomplete=incomplete,
        word=f"COMP_WORDS[{len(before)}]={incomplete!r}",
        line=line,
    )
    path = f"{PROGRAM.parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        [shell, "-c", script],
        env={"PATH": path, "HOME": str(home), "TERM": "dumb"},
        capture_output=True,
        text=True,
        timeout=60,
        cwd=home,
    )
    assert not done.stderr, done.stderr
    offered = (line.partition("\t")[0].split(":")[0] for line in done.stdout.splitlines())
    return [word for word in offered if word]


@pytest.mark.parametrize("shell", Shell)
@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("gauntlet ", list(COMMANDS)),
        ("gauntlet eva", ["evaluate"]),
        ("gauntlet run --preset ", list(PRESETS)),
        ("gauntlet run --preset smoke --set trainer.ep", ["trainer.epochs="]),
        ("gauntlet run --set attack.su", ["attack.suite="]),
        ("gauntlet evaluate --suite ", ["fast", "autoattack"]),
        ("gauntlet evaluate --norm l", ["linf", "l2"]),
        ("gauntlet completion ", list(Shell)),
    ],
)
def test_completed(shell: Shell, line: str, offered: list[str], tmp_path: Path) -> None:
    assert sorted(completed(shell, line, tmp_path)) == sorted(offered)


def test_presets_are_completed_without_tensorflow(tmp_path: Path) -> None:
    (tmp_path / "gauntlet.toml").write_text('[presets.quick]\npreset = "smoke"\n')
    code = (
        "import sys; from gauntlet.cli import main\n\n"
        "try: main(prog_name='gauntlet')\nexcept SystemExit: pass\n"
        "print({'tensorflow', 'tfx', 'apache_beam'} & sys.modules.keys())"
    )
    asked = {"COMP_WORDS": "gauntlet run --preset q", "COMP_CWORD": "3"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"_GAUNTLET_COMPLETE": "bash_complete"} | asked,
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    )
    assert done.stdout.splitlines() == ["plain,quick", "set()"]


@pytest.mark.parametrize("shell", [Shell.BASH, Shell.ZSH])  # click's script for fish cuts at commas
def test_the_last_of_a_list_is_completed(shell: Shell, tmp_path: Path) -> None:
    line = "gauntlet evaluate --attacks pgd,fa"
    assert completed(shell, line, tmp_path) == ["pgd,fab-t"]


def offered(*line: str) -> list[str]:
    *before, incomplete = line
    asked = ShellComplete(main, {}, "gauntlet", "_GAUNTLET_COMPLETE")
    return [item.value for item in asked.get_completions(before, incomplete)]


def test_presets_of_ones_own_are_completed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = 'trainer.stride = [9]\n[presets.quick]\npreset = "smoke"\nrecipe.name = "sabr"\n'
    Path("gauntlet.toml").write_text(text)
    Path("other.toml").write_text('[presets.long]\npreset = "smoke"\n')
    assert offered("run", "--preset", "") == [*PRESETS, "quick"]
    assert offered("run", "--config", "other.toml", "--preset", "lo") == ["long"]
    assert offered("run", "--preset", "quick", "--set", "recipe.bo") == ["recipe.box="]
    Path("gauntlet.toml").write_text("what")
    assert offered("run", "--preset", "") == [*PRESETS], "a wrong file is told when it is read"


def test_commands_are_completed_without_importing_them() -> None:
    """A shell waits for it at every press of the key."""
    code = (
        "import sys; from gauntlet.cli import main\n\n"
        "try: main(prog_name='gauntlet')\nexcept SystemExit: pass\n"
        "print([name for name in sys.modules if name.startswith('gauntlet.commands')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ
        | {"_GAUNTLET_COMPLETE": "bash_complete", "COMP_WORDS": "gauntlet ", "COMP_CWORD": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    *offered, imported = done.stdout.splitlines()
    assert offered == [f"plain,{name}" for name in COMMANDS]
    assert imported == "[]"
