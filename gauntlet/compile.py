"""`gauntlet compile`: the pipeline as a file for Vertex AI or Kubeflow Pipelines v2."""

import shutil
import tempfile
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from components.datasets.image_folder import is_folder
from foundation.errors import ConfigError
from gauntlet.errors import exit_code
from gauntlet.run import check_writable
from gauntlet.supervisor import call
from pipeline.definition.config import RunConfig, override
from pipeline.definition.presets import preset as named_preset


@exit_code
def compile(
    target: str,
    image: str,
    output: Path,
    pipeline_root: str,
    preset: str,
    assignments: tuple[str, ...],
) -> int:
    """The command; returns the exit code."""
    config = override(named_preset(preset), assignments)
    if is_folder(config.data.dataset):
        raise ConfigError(
            f"data.dataset={config.data.dataset} is a folder on this machine, which nodes of a "
            "cluster cannot read; compile for a named tfds data set"
        )
    arguments = {
        "config": config.to_json(),
        "target": target,
        "image": image,
        "pipeline_root": pipeline_root,
    }
    check_writable(output)
    console = Console()
    log = Path(tempfile.mkdtemp(prefix="gauntlet-compile-")) / "log.txt"
    call(
        "gauntlet.compile:compile_task",
        arguments | {"output": str(output.absolute())},
        log,
        console,
    )
    shutil.rmtree(log.parent)  # after a failure it stays, the message names it
    console.print(escape(f"wrote {output}"), highlight=False, soft_wrap=True)
    if target == "kfp-v2" and config.gates.champion:
        console.print(
            "[yellow]Note:[/] Kubeflow Pipelines v2 cannot look up the latest blessed model: there "
            "is no champion gate",
            highlight=False, soft_wrap=True,
        )  # fmt: skip
    return 0


def compile_task(request: dict[str, str]) -> None:
    """What the child process does."""
    from foundation.events import phase

    with phase("TFX"):
        from gauntlet_kubeflow.compile import Target, compile_pipeline, write
    with phase("compile"):
        config, target = RunConfig.from_json(request["config"]), Target(request["target"])
        compiled = compile_pipeline(config, target, request["image"], request["pipeline_root"])
        write(compiled, Path(request["output"]))
