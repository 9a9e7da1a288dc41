"""`gauntlet run`: checks what the user gave, runs the job in a child process, shows the results."""

import datetime
import shutil
import tempfile
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from components.datasets.image_folder import describe, is_folder, spans
from foundation.errors import ConfigError, RunError
from gauntlet.errors import REFUSED, exit_code
from gauntlet.supervisor import call
from gauntlet.tables import print_summary
from pipeline.definition.config import RunConfig, override
from pipeline.definition.gates import out_of_reach
from pipeline.definition.presets import preset as named_preset


@exit_code
def run(
    preset: str,
    assignments: tuple[str, ...],
    root: str,
    data_dir: str | None,
    orchestrator: str,
    json_file: Path | None,
) -> int:
    """The command; returns the exit code."""
    config = configured(preset, assignments)
    folder = writable_root(root)
    data_dir = data_dir and local_folder(data_dir)
    if json_file:
        check_writable(json_file)
    console = Console()
    for reason in out_of_reach(config):
        console.print(
            f"[yellow]Note:[/] whatever is trained will be refused: {escape(reason)}",
            soft_wrap=True,
        )
    summary = run_in_child(config, folder, data_dir, orchestrator, console)
    results = folder / "results" / summary["run_id"]
    if json_file:
        shutil.copyfile(results / "summary.json", json_file)
    print_summary(summary, results, console)
    return 0 if summary["pushed"] else REFUSED


def configured(preset: str, assignments: tuple[str, ...]) -> RunConfig:
    """The preset with the user's settings; where these name a folder of images, with what lies in
    there.

    Raises:
        ConfigError: a wrong name or value.
        DataError: the folder does not have the layout.
    """
    config = override(named_preset(preset), assignments)
    if not is_folder(config.data.dataset):
        if config.data.span:
            raise ConfigError(
                f"data.span={config.data.span} is for a folder of spans; {config.data.dataset} is "
                "none"
            )
        return config
    span, root = chosen_span(config.data.dataset, config.data.span)
    images = describe(root)
    derived = {f"data.{name}": split for name, split in images.splits.items()}
    derived |= {
        "data.image_shape": ",".join(map(str, images.image_shape)),
        "data.classes": str(len(images.classes)),
    }
    chosen = (f"data.dataset={images.root}", f"data.span={span}")
    return override(
        named_preset(preset), (*(f"{n}={v}" for n, v in derived.items()), *assignments, *chosen)
    )


def chosen_span(dataset: str, wanted: int) -> tuple[int, str]:
    """The span that was asked for, or (0) the newest, and its folder; 0 and the folder itself where
    there are no spans.

    Raises:
        ConfigError: there is no such span.
    """
    found = spans(dataset)
    if wanted and wanted not in found:
        known = ", ".join(map(str, sorted(found))) or "none"
        raise ConfigError(f"{dataset} has no folder span-{wanted}; its spans are {known}")
    span = wanted or max(found, default=0)
    return span, str(found[span]) if found else dataset


def run_in_child(
    config: RunConfig, root: Path, data_dir: str | None, orchestrator: str, console: Console
) -> dict[str, Any]:
    """Run the job; returns its summary."""
    run_id = datetime.datetime.now().strftime("%Y%m%d-%H%M%S-%f")
    folder = root / "results" / run_id
    folder.mkdir(parents=True)
    console.print(
        escape(f"run {run_id}, preset {config.preset}, root {root}"),
        highlight=False,
        soft_wrap=True,
    )
    arguments = {
        "config": config.to_json(),
        "root": str(root),
        "run_id": run_id,
        "data_dir": data_dir,
        "orchestrator": orchestrator,
    }
    return call("gauntlet.run:run_task", arguments, folder / "log.txt", console)


def run_task(request: dict[str, Any]) -> dict[str, Any]:
    """What the child process does."""
    from pipeline.local.job import Job, run_job

    config, root = RunConfig.from_json(request["config"]), Path(request["root"])
    return run_job(Job(**request | {"config": config, "root": root}))


def writable_root(root: str) -> Path:
    """The absolute root, created; raises RunError when it cannot be written."""
    folder = Path(local_folder(root))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError as error:
        raise RunError(
            f"cannot write to the root {folder}: {error.strerror}; name another with --root"
        ) from error


def local_folder(path: str) -> str:
    """The absolute path of a local folder; raises ConfigError for an address such as
    gs://bucket."""
    if "://" in path:
        raise ConfigError(
            f"expected a local folder, got {path}; copy the data to one, or compile for a platform"
        )
    return str(Path(path).expanduser().absolute())


def check_writable(file: Path) -> None:
    """Raises RunError unless the file can be written; leaves things as they are."""
    existed = file.exists()
    try:
        with open(file, "a"):
            pass
    except OSError as error:
        raise RunError(f"cannot write {file}: {error.strerror}") from error
    if not existed:
        file.unlink(missing_ok=True)
