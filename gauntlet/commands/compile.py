"""`gauntlet compile`: the pipeline as a file for Vertex AI or Kubeflow Pipelines v2."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click
from gauntlet_kubeflow.target import Target

from foundation.errors import ConfigError
from gauntlet.options import console_beside, settings_options, voice_options
from gauntlet.parameters import INPUT_FILE, OUTPUT_FILE, Choices
from gauntlet.terms import gates_option, mandate_options

if TYPE_CHECKING:
    from gauntlet_kubeflow.request import Compilation, Volume


@click.command
@settings_options
@gates_option
@click.option("--target", type=Choices(Target), required=True, help="Where the pipeline shall run.")
@click.option(
    "--image",
    required=True,
    help="Container image with this project, as `gauntlet image build` makes it; best by its "
    "digest, IMAGE@sha256:...",
)
@click.option(
    "--gpu-image",
    default="",
    metavar="IMAGE",
    help="Another image for the tasks that compute on a GPU. Default: the same.",
)
@click.option("--output", type=OUTPUT_FILE, required=True, help="File to write (.json or .yaml).")
@click.option(
    "--pipeline-root",
    required=True,
    metavar="gs://BUCKET/FOLDER",
    help="Where the pipeline keeps its artifacts: your bucket and folder; on Kubeflow also "
    "minio:// or s3://.",
)
@click.option(
    "--volume",
    metavar="CLAIM:/PATH",
    help="Kubeflow: a PersistentVolumeClaim that all containers mount at a path. With minio:// and "
    "s3:// it holds what outlives a run.",
)
@click.option(
    "--store",
    default="",
    metavar="FOLDER",
    help="Where pushed models, accepted statistics and checkpoints go: gs://, or a folder that all "
    "containers mount. Default: NAME in the volume, or else in the pipeline root.",
)
@click.option(
    "--name",
    default="gauntlet",
    show_default=True,
    help="Name of the pipeline. Pipelines of other names have other champions.",
)
@click.option(
    "--data-uri",
    default="",
    metavar="URI",
    help="Prepared data in a store (a folder that `gauntlet prepare` made, copied there). Default: "
    "the data set is fetched from the internet by the task that reads it.",
)
@click.option(
    "--data-fingerprint",
    default="",
    help="What the data at --data-uri must be, as `gauntlet prepare` printed it. Without it every "
    "run computes everything again.",
)
@click.option(
    "--resources",
    type=INPUT_FILE,
    help="TOML file with the machines of the tasks: cpu, memory, accelerator, accelerators, "
    "retries, timeout in the tables [default] and [TASK]; on Vertex AI also machine_type, replicas "
    "and tpu_topology, with which a Trainer runs as a training job.",
)
@click.option("--project", default="", help="Google Cloud's project of the training jobs.")
@click.option("--region", default="", help="Google Cloud's region of the training jobs.")
@click.option(
    "--service-account",
    default="",
    help="Google Cloud's account of the training jobs. Default: Vertex AI's own.",
)
@click.option(
    "--finish-on-refusal",
    is_flag=True,
    help="Let a run succeed whose model was refused; without this it fails in the task Verdict.",
)
@mandate_options
@voice_options
def compile(
    preset: str | None,
    config_file: Path | None,
    assignments: tuple[str, ...],
    gates_file: Path | None,
    target: Target,
    image: str,
    gpu_image: str,
    output: Path,
    pipeline_root: str,
    volume: str | None,
    store: str,
    name: str,
    data_uri: str,
    data_fingerprint: str,
    resources: Path | None,
    project: str,
    region: str,
    service_account: str,
    finish_on_refusal: bool,
    replace: bool,
    force: bool,
    reason: str,
) -> None:
    """Compile the same pipeline for Vertex AI or Kubeflow Pipelines v2.

    \b
      gauntlet compile --target vertex --image IMAGE --pipeline-root gs://BUCKET/FOLDER \\
        --output job.json
      gauntlet compile --target kfp-v2 --image IMAGE --pipeline-root minio://mlpipeline/FOLDER \\
        --volume CLAIM:/mnt/gauntlet --output pipeline.yaml

    Vertex AI gets a pipeline job, open-source KFP v2 the bare pipeline specification. Compiling
    twice gives the same bytes (with --replace and --force, except for the time). Seed, data,
    epsilon, epochs and the gates' bounds can be set again when a run is submitted.

    The task Champion compares each run with what the models in the store are for and had to reach,
    before anything is computed. --replace and --force that are compiled in hold for every run of
    the file; `gauntlet submit` takes them for one.
    """
    from gauntlet_kubeflow.capabilities import refuse_what_cannot_run
    from gauntlet_kubeflow.names import check_pipeline_name
    from gauntlet_kubeflow.request import Compilation
    from gauntlet_kubeflow.resources import Profile, read_profile
    from rich.markup import escape

    from gauntlet.configuration import without_looking
    from gauntlet.terms import mandate_of, with_gates
    from gauntlet.voice import note
    from gauntlet.work import call_with, temporary_log

    for option, text in (("image", image), ("pipeline-root", pipeline_root)):
        if not text.strip():
            raise ConfigError(f"--{option} is empty")
    if "://" not in pipeline_root:
        raise ConfigError(
            f"--pipeline-root is an address such as gs://BUCKET/FOLDER, got {pipeline_root}"
        )
    if data_fingerprint and not data_uri:
        raise ConfigError("--data-fingerprint says what lies at --data-uri, which is not given")
    check_pipeline_name(name)
    config = without_looking(preset, assignments, config_file)
    request = Compilation(
        config=with_gates(config, gates_file, assignments, config_file),
        target=target,
        image=image,
        gpu_image=gpu_image,
        pipeline_root=pipeline_root,
        store=store,
        name=name,
        data_uri=data_uri.rstrip("/"),
        data_fingerprint=data_fingerprint,
        volume=read_volume(volume) if volume else None,
        fail_on_refusal=not finish_on_refusal,
        mandate=mandate_of(replace, force, reason).to_json(),
        profile=read_profile(resources) if resources else Profile(),
        project=project,
        region=region,
        service_account=service_account,
    )
    refuse_what_cannot_run(request)
    console = console_beside()
    function = "gauntlet_kubeflow.compile:compile_to_file"
    with temporary_log() as log:
        call_with("TFX", function, (request, output), log, console)
    for text in notes(request):
        note(console, text)
    console.print(escape(f"wrote {output}"), highlight=False, soft_wrap=True)


def read_volume(text: str) -> "Volume":
    """A volume from CLAIM:/PATH; raises ConfigError where it is none."""
    from gauntlet_kubeflow.request import Volume

    claim, _, path = text.partition(":")
    if not re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", claim) or not re.fullmatch(
        r"/.*[^/]", path
    ):
        raise ConfigError(f"--volume is CLAIM:/PATH, such as models:/mnt/gauntlet, got {text!r}")
    return Volume(claim=claim, path=path)


def notes(request: "Compilation") -> Iterator[str]:
    """What somebody who compiles this should know."""
    from gauntlet_kubeflow.image import is_pinned

    from pipeline.definition.gates import out_of_reach

    for image in sorted({request.image, request.gpu_image} - {""}):
        if is_pinned(image):
            continue
        yield (
            f"{image} is named by a tag. Where another image gets this tag, the platform's "
            "cache does not see it, and serves what the old one computed; name it by its digest"
        )
    if request.data_uri and not request.data_fingerprint:
        yield (
            "no --data-fingerprint says what lies at --data-uri, so no cache can know it again: "
            "every run computes everything"
        )
    if any(own.accelerators for own in request.profile.machines.values()) and not request.gpu_image:
        yield (
            "tasks with an accelerator run in --image; the cpu image has no libraries of NVIDIA "
            "and would leave it unused: name another one by --gpu-image"
        )
    for reason in out_of_reach(request.config):
        yield f"whatever is trained will be refused: {reason}"
