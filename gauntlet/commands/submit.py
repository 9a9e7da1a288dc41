"""`gauntlet submit`: a compiled pipeline runs on Vertex AI, on Kubeflow Pipelines, or here."""

import datetime
import os
from pathlib import Path
from typing import TYPE_CHECKING

import click
from gauntlet_kubeflow.clients.request import Destination, Submission
from gauntlet_kubeflow.target import STORES

from foundation.errors import INTERRUPTED, REFUSED, ConfigError, RefusedData, RunError
from gauntlet.options import (
    console_beside,
    google_cloud_options,
    refuse_options,
    request,
    voice_options,
)
from gauntlet.parameters import LOCAL_PATH, PLAIN_FOLDER, Choices, created
from gauntlet.terms import mandate_of, mandate_options

if TYPE_CHECKING:
    from gauntlet_kubeflow.clients.compiled import Compiled
    from gauntlet_kubeflow.clients.run import ParameterValues, Platform, Progress
    from gauntlet_kubeflow.local.machine import Machine
    from rich.console import Console

VERTEX, KFP, LOCAL = Destination

OPTIONS_OF = {
    "project": {VERTEX},
    "region": {VERTEX},
    "api_endpoint": {VERTEX},
    "host": {KFP},
    "namespace": {KFP},
    "experiment": {KFP},
    "token": {KFP},
    "service_account": {VERTEX, KFP},
    "pipeline_root": {VERTEX, KFP},
    "timeout": {VERTEX, KFP},
    "folder": {LOCAL},
    "docker": {LOCAL},
}
"""The options that not every target has."""


@click.command
@click.argument("file", type=LOCAL_PATH, metavar="FILE")
@click.option("--target", type=Choices(Destination), required=True, help="Where it shall run.")
@click.option(
    "--param",
    "assignments",
    multiple=True,
    metavar="SECTION.KEY=VALUE",
    help="Change a runtime parameter, such as threat.epsilon=0.2 or gates.worst_case=0.5, without "
    "compiling again; repeatable. A wrong name lists all of them.",
)
@click.option(
    "--wait",
    is_flag=True,
    help="Follow the run to its end, and end with the exit code of `gauntlet run`.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="With --wait: stop waiting after this time; the run itself goes on.",
)
@click.option("--no-cache", is_flag=True, help="Run every task, whatever earlier runs did.")
@click.option(
    "--pipeline-root",
    default="",
    metavar="URI",
    help="Folder of the artifacts in place of the compiled one.",
)
@click.option(
    "--service-account", default="", help="Account of the tasks. Default: the platform's."
)
@google_cloud_options
@click.option(
    "--host",
    default="",
    envvar=["KFP_ENDPOINT", "KF_PIPELINES_ENDPOINT"],
    metavar="URL",
    help="Kubeflow: address of Pipelines, such as http://localhost:8080. Default: KFP_ENDPOINT.",
)
@click.option(
    "--namespace",
    default="",
    envvar="KFP_NAMESPACE",
    help="Kubeflow: namespace of the run, where there are several users.",
)
@click.option("--experiment", default="", help="Kubeflow: experiment of the run. Default: Default.")
@click.option(
    "--token",
    default="",
    envvar="KFP_EXISTING_TOKEN",
    help="Kubeflow: token of the user, or @FILE. Default: KFP_EXISTING_TOKEN, so that no list of "
    "processes shows it.",
)
@click.option(
    "--root",
    "folder",
    type=PLAIN_FOLDER,
    default="rehearsal",
    show_default=True,
    help="Local: folder of the artifacts, the logs and the cache.",
)
@click.option(
    "--docker",
    is_flag=True,
    help="Local: run each task in its container, without a network and on a read-only root, "
    "instead of in this environment. Volumes are folders in the root.",
)
@mandate_options
@voice_options
@request(Submission)
def submit(
    task: Submission,
    wait: bool,
    timeout: float | None,
    folder: Path,
    docker: bool,
    replace: bool,
    force: bool,
    reason: str,
) -> int:
    """Run FILE, which `gauntlet compile` wrote, on a platform.

    \b
      gauntlet submit pipeline.json --target vertex --project P --region europe-west4 --wait
      gauntlet submit pipeline.yaml --target kfp-v2 --host http://localhost:8080 --wait
      gauntlet submit pipeline.yaml --target local

    With --wait the exit code is that of `gauntlet run`, as far as the platform tells it; without it
    the command ends as soon as the platform has accepted the run. `local` runs the tasks here, as
    the platform would, and always waits.
    """
    from gauntlet_kubeflow.addresses import check_address
    from gauntlet_kubeflow.clients.compiled import read_compiled

    refuse_options(task.target, OPTIONS_OF)
    compiled = read_compiled(task.file, task.target)
    if timeout is not None and not wait:
        raise ConfigError("--timeout bounds the time of --wait, which is not given")
    if wait and not compiled.refusal_fails:
        raise ConfigError(
            f"{task.file} was compiled so that the run succeeds when the model is refused: the "
            "exit code of --wait could not tell a refusal from a push; compile it without that "
            "option, or leave --wait away"
        )
    check_address("--pipeline-root", task.pipeline_root)
    if task.pipeline_root and not task.pipeline_root.startswith(STORES[compiled.target]):
        raise ConfigError(
            f"--pipeline-root is at {' or '.join(STORES[compiled.target])} for {compiled.target}, "
            f"got {task.pipeline_root}"
        )
    values: ParameterValues = {}
    mandate = mandate_of(replace, force, reason).to_json()
    if task.assignments or mandate:
        from gauntlet_kubeflow.parameters.given import parameter_values

        values = parameter_values(compiled.spec, task.assignments, mandate)
    if task.no_cache:
        compiled = compiled.without_cache()
    console = console_beside()
    if task.target is LOCAL:
        return run_here(compiled, values, created(folder, "root"), docker, console)
    return send(platform_of(task), compiled, values, wait, timeout, console)


def platform_of(task: Submission) -> "Platform":
    """The client of a service; its library is imported here."""
    if task.target is VERTEX:
        from gauntlet_kubeflow.clients.vertex import VertexPipelines

        return VertexPipelines(task)
    from gauntlet_kubeflow.clients.kfp import KubeflowPipelines

    return KubeflowPipelines(task)


def send(
    platform: "Platform",
    compiled: "Compiled",
    values: "ParameterValues",
    wait: bool,
    timeout: float | None,
    console: "Console",
) -> int:
    """Submit a pipeline; returns the exit code."""
    from gauntlet_kubeflow.clients.watch import follow, goes_on
    from rich.markup import escape

    from gauntlet.drawing import drawn

    try:
        run = platform.submit(compiled, values)
    except KeyboardInterrupt:
        click.echo(
            "interrupted while the run was submitted; it may have begun: look for it before you "
            "submit again",
            err=True,
        )
        return INTERRUPTED
    console.print(escape(f"run {run.run_id}\n{run.url}"), highlight=False, soft_wrap=True)
    if not wait:
        return 0
    try:
        with drawn(console):
            progress = follow(platform, run, timeout)
    except KeyboardInterrupt:
        click.echo(f"stopped waiting; {goes_on(run)}", err=True)
        return INTERRUPTED
    return told(progress, run.url, compiled, console)


def run_here(
    compiled: "Compiled",
    values: "ParameterValues",
    folder: Path,
    docker: bool,
    console: "Console",
) -> int:
    """Run a pipeline on this machine; returns the exit code."""
    from gauntlet_kubeflow.clients.run import Progress, RunState, Task
    from gauntlet_kubeflow.local.platform import LocalPlatform
    from rich.markup import escape

    from gauntlet.drawing import drawn

    machine = machine_of(compiled, folder, docker)
    run_id = datetime.datetime.now(datetime.UTC).strftime("%Y%m%d-%H%M%S-%f")
    with drawn(console):
        ended = LocalPlatform(compiled.content, folder, machine).run(run_id, values)
    tasks = tuple(
        Task(
            name=name,
            state=task.state,
            log=str(task.log or ""),
            error=task.reason,
            code=task.code,
        )
        for name, task in ended.items()
    )
    summary = ended.get("Summary")
    if summary and (made := summary.outputs.artifacts.get("summary")):
        served = made.metadata.get("pushed")
        console.print(escape(f"served: {served or 'not this model'}"), highlight=False)
    progress = Progress(state=RunState.SUCCEEDED, tasks=tasks)
    if progress.failed:
        progress = Progress(state=RunState.FAILED, tasks=tasks)
    return told(progress, str(folder), compiled, console)


def machine_of(compiled: "Compiled", folder: Path, docker: bool) -> "Machine":
    """What runs the containers; volumes are folders of this machine.

    Raises:
        ConfigError: without Docker, a volume's path is no folder that can be written.
    """
    from gauntlet_kubeflow.local.machine import Processes

    volumes = compiled.volumes
    if docker:
        from gauntlet_kubeflow.docker import Containers

        return Containers({folder / "volumes" / claim: path for claim, path in volumes.items()})
    for claim, path in volumes.items():
        if not os.access(path, os.W_OK):
            raise ConfigError(
                f"the volume {claim} is mounted at {path}, which is no folder here that can be "
                "written; make it, add --docker, or compile with the --volume path of a folder of "
                "this machine"
            )
    return Processes()


def told(progress: "Progress", url: str, compiled: "Compiled", console: "Console") -> int:
    """Say how a run ended; returns the exit code.

    Raises:
        ConfigError: its tasks say that it is used wrongly, such as for another purpose than what is
            served.
        RefusedData: they say that the data is refused.
        RunError: it failed, or somebody cancelled it.
    """
    from gauntlet_kubeflow.clients.compiled import VERDICT
    from gauntlet_kubeflow.clients.run import RunState, Task
    from rich.markup import escape

    if progress.state is RunState.SUCCEEDED and not progress.failed:
        if compiled.refusal_fails:
            console.print("[green]pushed[/]: every task succeeded")
        else:
            console.print("every task succeeded; summary.json says whether the model was pushed")
        return 0
    if progress.state is RunState.CANCELLED:
        raise RunError(f"the run was cancelled: {url}")
    match progress.failed:
        case [Task(name=name, code=code) as verdict] if name == VERDICT and code in (REFUSED, None):
            said = "this model was not pushed"
            if code is None:  # it may have run out of memory, as any other may
                said = f"the task {VERDICT} failed, as it does when the gates refuse the model"
            console.print(f"[red]refused[/]: {said}")
            if verdict.error:
                console.print(escape(verdict.error), highlight=False, soft_wrap=True)
            console.print(
                escape(f"summary.json of the task Summary says why; log: {verdict.log or url}"),
                highlight=False, soft_wrap=True,
            )  # fmt: skip
            return REFUSED
    if not progress.failed:
        raise RunError(f"the run failed: {progress.error or 'no task says why'}; see {url}")
    lines = (
        f"task {task.name} failed{f' ({task.error})' if task.error else ''}; its log: "
        f"{task.log or url}"
        for task in progress.failed
    )
    codes = {task.code for task in progress.failed}
    known = (kind for kind in (ConfigError, RefusedData) if codes == {kind.exit_code})
    raise next(known, RunError)("\n".join(lines))
