"""`gauntlet image build`: the container images of the nodes."""

import click
from gauntlet_kubeflow.image import ImageBuild, ImageKind, build_image, megabytes

from foundation.errors import ConfigError
from gauntlet.parameters import Choices


@click.group
def image() -> None:
    """Container images of the nodes on Vertex AI and Kubeflow."""


@image.command(context_settings={"max_content_width": 100})
@click.option(
    "--target",
    type=Choices(ImageKind),
    default=ImageKind.CPU,
    show_default=True,
    help="For every node, for nodes with a GPU, or for workers of a Beam engine.",
)
@click.option("--tag", default=None, metavar="NAME", help="Name. Default: gauntlet:TARGET.")
@click.option(
    "--base",
    default="",
    metavar="IMAGE",
    help="Image with Python 3.11 to build on. Default: the one that kubeflow/Dockerfile pins.",
)
@click.option("--push", is_flag=True, help="Send it to the registry that --tag names.")
@click.argument("docker_options", nargs=-1, type=click.UNPROCESSED)
def build(
    target: ImageKind, tag: str | None, base: str, push: bool, docker_options: tuple[str, ...]
) -> None:
    """Build an image from this checkout with Docker.

    \b
      gauntlet image build --tag REGISTRY/gauntlet:1 --push
      gauntlet image build --target gpu -- --network host     # options of docker build

    The last line names exactly the built bytes, for `gauntlet compile --image`.
    """
    if push and not tag:
        raise ConfigError("--push needs a --tag with your registry, such as REGISTRY/gauntlet:1")
    what = ImageBuild(
        target=target,
        tag=tag or f"gauntlet:{target}",
        base=base,
        push=push,
        docker_options=docker_options,
    )
    reference = build_image(what)
    click.echo(f"built {what.tag}, {megabytes(what.tag):,} MB")
    if not push:
        click.echo("known on this machine only; a cluster needs --push")
    click.echo(f"--image {reference}")
