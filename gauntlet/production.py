"""`gauntlet models`, `rollback`, `bless` and `predict`: the life of a model after its push."""

import json
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from components.versions import list_versions
from foundation.errors import ConfigError
from gauntlet.errors import exit_code
from gauntlet.run import check_writable, local_folder
from gauntlet.supervisor import call

HISTORY = {
    "run": "",
    "rollback": "back to version {of}, by {by}: {reason}",
    "forced": "FORCED by {by}: {reason}",
}
"""How a version came into service."""


@exit_code
def models(root: str, json_file: Path | None) -> int:
    """The command; returns the exit code."""
    found = list_versions(str(_folder(root) / "serving"))
    if json_file:
        check_writable(json_file)
        json_file.write_text(json.dumps(found, indent=2) + "\n")
    console = Console()
    if not found:
        console.print(
            escape(f"nothing has been pushed in {root} yet"), highlight=False, soft_wrap=True
        )
        return 0
    table = Table(title=f"Versions in {root}/serving")
    for column in ("version", "pushed (UTC)", "clean", "worst case", "certified"):
        table.add_column(column, justify="right", overflow="fold")
    table.add_column("", overflow="fold")
    for entry in found:
        shares = (entry.get(name) for name in ("clean", "worst_case", "certified"))
        notes = ["[green]serving"] if entry["serving"] else []
        notes.append(escape(HISTORY.get(entry.get("kind", "run"), "").format(**entry)))
        if entry.get("refused_by"):
            notes.append(f"[red]refused by {escape(entry['refused_by'])}[/]")
        table.add_row(
            entry["version"],
            entry.get("pushed_at", "-")[:16].replace("T", " "),
            *("-" if share is None else f"{share:.2%}" for share in shares),
            " ".join(filter(None, notes)),
        )
    console.print(table)
    return 0


@exit_code
def rollback(root: str, version: str | None, reason: str) -> int:
    """The command; returns the exit code."""
    served = _call("rollback_task", root, version=version, reason=reason)
    Console().print(
        f"version {served['version']} is served: {HISTORY['rollback'].format(**served)}",
        markup=False,
    )
    return 0


@exit_code
def bless(root: str, run_id: str | None, forced: bool, reason: str) -> int:
    """The command; returns the exit code."""
    if not forced:
        raise ConfigError(
            "a blessing by hand overrides the gates; say --force if that is what you want"
        )
    if not reason.strip():
        raise ConfigError("--reason takes a text; it stands in the metadata and in every listing")
    served = _call("bless_task", root, run_id=run_id, reason=reason)
    Console().print(
        f"version {served['version']} is served, though {served['refused_by']} refused it; "
        f"recorded: {served['by']}, {served['at']}, "
        f"{served['reason']}", markup=False, soft_wrap=True,
    )  # fmt: skip
    return 0


@exit_code
def predict(root: str, images: tuple[str, ...], json_file: Path | None) -> int:
    """The command; returns the exit code."""
    if json_file:
        check_writable(json_file)
    found = _call("predict_task", root, images=[str(Path(image).absolute()) for image in images])
    if json_file:
        json_file.write_text(json.dumps(found, indent=2) + "\n")
    table = Table(title=f"Version {found['version']}")
    for column in ("image", "class", "probability"):
        table.add_column(column, justify="left" if column == "image" else "right", overflow="fold")
    for image, answer in zip(images, found["answers"], strict=True):
        table.add_row(escape(image), str(answer["class"]), f"{answer['probability']:.2%}")
    Console().print(table)
    return 0


def _folder(root: str) -> Path:
    """The root, which must be there."""
    folder = Path(local_folder(root))
    if not folder.is_dir():
        raise ConfigError(f"there is no folder {folder}; name the root of a pipeline with --root")
    return folder


def _call(task: str, root: str, **arguments: Any) -> Any:
    """Run one of the tasks below in a child process."""
    folder = _folder(root)
    return call(
        f"gauntlet.production:{task}",
        {"root": str(folder)} | arguments,
        folder / "log.txt",
        Console(),
    )


def rollback_task(request: dict[str, Any]) -> dict[str, Any]:
    """What the child process does."""
    from foundation.events import phase

    with phase("rollback"):
        from pipeline.production.changes import rollback

        return rollback(Path(request["root"]), request["version"], request["reason"])


def bless_task(request: dict[str, Any]) -> dict[str, Any]:
    """What the child process does."""
    from foundation.events import phase

    with phase("bless"):
        from pipeline.production.changes import force

        return force(Path(request["root"]), request["run_id"], request["reason"])


def predict_task(request: dict[str, Any]) -> dict[str, Any]:
    """What the child process does."""
    from foundation.events import phase

    with phase("predict"):
        from pipeline.production.served import predict

        return predict(Path(request["root"]), request["images"])
