"""What an address and the name of an image must look like, checked before anything is sent."""

import re

from foundation.errors import ConfigError
from foundation.paths import PATTERN

STORE = re.compile(r"(gs|s3|minio)://[a-z0-9]([a-z0-9._-]*[a-z0-9])?(/.*)?", re.ASCII)
"""A bucket, and what lies in it."""

ODD = re.compile(rf"[\s\x00-\x1f\x7f{PATTERN}#{{}}$\"',;|<>]")
"""Letters that a shell, TensorFlow's patterns or a store's queries take for something else."""

IMAGE = re.compile(r"[a-zA-Z0-9][\w.:/-]*(@sha256:[0-9a-f]{64})?|sha256:[0-9a-f]{64}", re.ASCII)

OF_THE_SYSTEM = re.compile(
    r"/(bin|boot|dev|etc|lib|lib64|opt/gauntlet|proc|sbin|sys|usr|gcs|minio|s3)(/.*)?"
    r"|/(opt|root|run|tmp|home|var)"
)
"""Folders of a container in which no volume can be mounted: its own, and those of the launcher."""


def check_address(option: str, address: str) -> None:
    """Raises ConfigError unless it is a folder by its absolute path, or the address of something in
    a bucket. option: what the address was given for."""
    path = re.sub(r"^\w+://", "/", address)
    wrong = ODD.search(path) or (":" in path and "':'")
    if wrong:
        letter = wrong if isinstance(wrong, str) else repr(wrong[0])
        raise ConfigError(f"{option} {address!r}: {letter} cannot be part of an address here")
    if {".", ".."} & set(path.split("/")) or "//" in path:
        raise ConfigError(f"{option} {address!r} has a step ('.', '..' or '//') that is none")
    if address.startswith(("gs:", "s3:", "minio:")) and not STORE.fullmatch(address):
        raise ConfigError(
            f"{option} {address!r} names no bucket; expected such as gs://BUCKET/PATH"
        )


def check_mount(option: str, path: str) -> None:
    """Raises ConfigError unless a volume can be mounted there."""
    check_address(option, path)
    if OF_THE_SYSTEM.fullmatch(path):
        raise ConfigError(
            f"{option} {path!r} is a folder that the containers have themselves; take one such as "
            "/mnt/gauntlet"
        )


def check_image(option: str, image: str) -> None:
    """Raises ConfigError unless it names an image."""
    if not IMAGE.fullmatch(image):
        raise ConfigError(
            f"{option} {image!r} is no name of an image; expected such as REGISTRY/gauntlet:1 or "
            "REGISTRY/gauntlet@sha256:... with 64 digits"
        )
