"""`gauntlet deploy`: a pushed version is served by KServe or by Vertex AI."""

import functools
from pathlib import Path
from typing import TYPE_CHECKING

import click
from gauntlet_kubeflow.deploy.request import (
    RUNTIME_VERSION,
    Destination,
    Place,
    Registration,
    Service,
)

from foundation.whole import write_text
from gauntlet.options import (
    DEFAULT_ROOT,
    google_cloud_options,
    refuse_options,
    request,
    voice_options,
)
from gauntlet.parameters import EXISTING_ROOT, OUTPUT_FILE, Choices
from pipeline.root.root import Root

if TYPE_CHECKING:
    from gauntlet_kubeflow.deploy.pushed import Pushed
    from rich.console import Console

KSERVE, VERTEX = Destination

READ_BY_TENSORFLOW = "gs://"

OPTIONS_OF = {
    "output": {KSERVE},
    "to_terminal": {KSERVE},
    "namespace": {KSERVE},
    "cpu": {KSERVE},
    "memory": {KSERVE},
    "runtime_version": {KSERVE},
    "service_account": {KSERVE},
    "project": {VERTEX},
    "region": {VERTEX},
    "api_endpoint": {VERTEX},
    "serving_image": {VERTEX},
    "endpoint": {VERTEX},
    "machine_type": {VERTEX},
    "traffic": {VERTEX},
}
"""The options that not every target has."""

OPTIONS_OF_ENDPOINT = {name: {"vertex with --endpoint"} for name in ("machine_type", "traffic")}


@click.command
@click.option("--target", type=Choices(Destination), required=True, help="What shall serve it.")
@click.option(
    "--root",
    type=EXISTING_ROOT,
    help=f"Root of the pipeline, as for `gauntlet run`. Default: {DEFAULT_ROOT}, where no "
    "--model-uri is given.",
)
@click.option(
    "--model-uri",
    default="",
    metavar="URI",
    help="The version, or the folder of versions, as the platform sees it: "
    "gs://BUCKET/serving/VERSION; for KServe also s3:// or pvc://CLAIM/serving.",
)
@click.option("--force", is_flag=True, help="Also a version without a card, or pushed by force.")
@click.option(
    "--name",
    default="gauntlet",
    show_default=True,
    help="Name of the InferenceService, or of the model in the registry.",
)
@click.option("--output", type=OUTPUT_FILE, help="KServe: file for the manifest.")
@click.option(
    "--print",
    "to_terminal",
    is_flag=True,
    help="KServe: print the manifest. Default where no --output is given.",
)
@click.option("--namespace", default="default", show_default=True, help="KServe: namespace.")
@click.option("--cpu", default="1", show_default=True, help="KServe: processors of a pod.")
@click.option("--memory", default="2Gi", show_default=True, help="KServe: memory of a pod.")
@click.option(
    "--runtime-version",
    default=RUNTIME_VERSION,
    show_default=True,
    help="KServe: tag of the image tensorflow/serving.",
)
@click.option(
    "--service-account",
    default="",
    help="KServe: account that may read the store. Default: the namespace's own.",
)
@google_cloud_options
@click.option(
    "--serving-image",
    default="",
    help="Vertex AI: container image that serves a SavedModel. Default: Google's newest for "
    "TensorFlow, 2.15.",
)
@click.option(
    "--endpoint",
    default="",
    metavar="NAME",
    help="Vertex AI: endpoint that shall serve it, made where there is none. Default: upload only.",
)
@click.option(
    "--machine-type", default="n1-standard-2", show_default=True, help="Vertex AI: machine."
)
@click.option(
    "--traffic",
    type=click.IntRange(1, 100),
    default=100,
    show_default=True,
    metavar="PERCENT",
    help="Vertex AI: share of the endpoint's requests that this version answers.",
)
@voice_options
@request(Registration)
def deploy(
    registration: Registration,
    target: Destination,
    root: Root | None,
    model_uri: str,
    force: bool,
    output: Path | None,
    to_terminal: bool,
    namespace: str,
    cpu: str,
    memory: str,
    runtime_version: str,
    service_account: str,
) -> None:
    """Serve a pushed version on KServe or Vertex AI. Default: the newest.

    \b
      gauntlet deploy --target kserve --root runs --model-uri gs://BUCKET/serving --print
      gauntlet deploy --target vertex --project P --region europe-west4 \\
        --model-uri gs://BUCKET/serving/VERSION --endpoint digits

    KServe gets a manifest for `kubectl apply`; nothing is sent. Vertex AI gets the version in its
    model registry and, with --endpoint, machines that serve it; what is there already is not done
    again. A version that no gate let pass is refused.
    """
    from gauntlet.voice import Voice

    refuse_options(target, OPTIONS_OF)
    if target is VERTEX and not registration.endpoint:
        refuse_options("vertex without --endpoint", OPTIONS_OF_ENDPOINT)
    service = Service(
        name=registration.name if target is KSERVE else "gauntlet",
        namespace=namespace,
        cpu=cpu,
        memory=memory,
        runtime_version=runtime_version,
        service_account=service_account,
    )
    console = Voice(stderr=target is KSERVE)
    pushed = version_of(root, model_uri, console)
    if not force:
        from gauntlet_kubeflow.deploy.pushed import check

        check(pushed)
    if target is KSERVE:
        write_manifest(pushed, service, output, to_terminal, console)
    else:
        register(pushed, registration, console)


def version_of(root: Root | None, model_uri: str, console: "Console") -> "Pushed":
    """The version to serve: its card is read in the root where one is named, otherwise in the
    store."""
    from gauntlet_kubeflow.deploy.pushed import chosen

    if root is None and not model_uri:
        root = EXISTING_ROOT.convert(DEFAULT_ROOT, None, None)
    if root is not None:
        from pipeline.production.listing import held_against

        serving = str(root.serving)
        compared = functools.partial(held_against, root)
        return chosen(Place.of(model_uri or serving), serving, compared)
    place = Place.of(model_uri)
    if place.folder.startswith(READ_BY_TENSORFLOW):
        from gauntlet.supervisor import call
        from gauntlet.work import temporary_log

        function = "gauntlet_kubeflow.deploy.pushed:chosen_in_store"
        with temporary_log() as log:
            pushed: Pushed = call(function, place, log, console)
        return pushed
    return chosen(place, "" if "://" in place.folder else place.folder)


def write_manifest(
    pushed: "Pushed",
    service: Service,
    output: Path | None,
    to_terminal: bool,
    console: "Console",
) -> None:
    """Write KServe's manifest where it was asked for."""
    import yaml
    from gauntlet_kubeflow.deploy.kserve import manifest

    from gauntlet.voice import note, say

    text = yaml.safe_dump(manifest(pushed, service), sort_keys=False)
    if output:
        write_text(output, text)
        say(console, f"wrote {output}")
    if to_terminal or not output:
        click.echo(text, nl=False)
    if pushed.newest is None:
        note(
            console,
            f"{pushed.folder} cannot be listed from here: TensorFlow Serving takes its newest "
            f"version, whether that is {pushed.version} or not",
        )


def register(pushed: "Pushed", registration: Registration, console: "Console") -> None:
    """Bring a version into the registry and, where an endpoint is named, to it."""
    from gauntlet_kubeflow.deploy.vertex import VertexModels
    from rich.markup import escape

    from gauntlet.drawing import drawn

    models = VertexModels(registration)
    with drawn(console):
        registered = models.register(pushed)
        deployed = models.deploy(registered) if registration.endpoint else None
    how = "uploaded" if registered.new else "was there already"
    lines = [f"version {pushed.version} is {registered}: {how}"]
    if deployed is not None:
        how = "serves it" if deployed else "served it already"
        lines.append(f"endpoint {registration.endpoint} {how}")
    console.print(escape("\n".join(lines)), highlight=False, soft_wrap=True)
