"""The stock TFDS builder: looking it up, probing its host, and running it in a child process.

The child is there because preparing initialises TensorFlow, after which a process can no longer
choose its devices, and because TFDS prints whatever it likes. Looking up and probing happen in the
caller's process; they import tensorflow_datasets (0.7 s) but not TensorFlow.
"""

import logging
import queue
import tempfile
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from components.datasets.image_folder import ImageFolder, looks_like_folder
from components.mirrors.archives import Checksum
from foundation.errors import ConfigError, DataError, GauntletError
from foundation.process import NO_GPU, Child

if TYPE_CHECKING:
    import tensorflow_datasets as tfds

log = logging.getLogger("gauntlet.data")

PROBE_SECONDS = 10.0
HEAD_NOT_ALLOWED = (405, 501)


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """One run of `download_and_prepare`, as it is sent to the child.

    `images`: in place of `dataset`, a folder of images, stored as the tfds config `config`. `root`
    is the TFDS root to write, `manual_dir` a folder with the official archives (None: download),
    `examples` their number in all splits for the progress bar (0: unknown).
    """

    root: str
    dataset: str = ""
    manual_dir: str | None = None
    examples: int = 0
    images: ImageFolder | None = None
    config: str = ""


def load_builder(dataset: str, data_dir: str | None) -> "tfds.core.DatasetBuilder":
    """`tfds.builder`.

    Raises:
        ConfigError: there is no such data set; the message lists near names.
        DataError: prepared data is there, which TFDS reads here, and its metadata cannot be read.
    """
    import tensorflow_datasets as tfds
    from google.protobuf.json_format import ParseError

    try:
        return tfds.builder(dataset, data_dir=data_dir)
    except ParseError as error:
        place = f"{data_dir or 'the default root of TFDS'}/{_base_name(dataset)}"
        raise DataError(
            f"the prepared data in {place} cannot be read: {_one_line(str(error))} "
            f"Restore it, or remove {place} and run again to have it prepared afresh"
        ) from error
    except (ValueError, AssertionError, ImportError, OSError) as error:
        raise ConfigError(_unknown(dataset, error)) from error


def checksums(builder: "tfds.core.DatasetBuilder") -> dict[str, Checksum]:
    """What the installed TFDS recorded about the builder's archives, by file name."""
    return {
        info.filename: Checksum(sha256=info.checksum, size=int(info.size), url=url)
        for url, info in (builder.url_infos or {}).items()
        if info.filename
    }


def download_url(builder: "tfds.core.DatasetBuilder") -> str | None:
    """The first web address that the builder downloads from; None when TFDS records none."""
    urls = (url for url in builder.url_infos or {} if url.startswith(("http://", "https://")))
    return next(urls, None)


def unreachable(url: str, seconds: float = PROBE_SECONDS) -> str | None:
    """Why `url` cannot be downloaded from this machine, or None; decides within `seconds`."""
    answers: queue.Queue[str | None] = queue.Queue()
    # A thread, because neither name resolution nor a list of addresses obeys requests' timeout.
    # Daemon: one that still hangs must not keep the program from ending.
    probe = threading.Thread(target=lambda: answers.put(_head(url, seconds)), daemon=True)
    probe.start()
    try:
        return answers.get(timeout=seconds)
    except queue.Empty:
        return f"no answer within {seconds:g} s"


def run(preparation: Preparation) -> None:
    """Prepare in a child process; raises DataError with the child's reason when it fails."""
    # Temporary files too go where the caller cleans up, even after a kill.
    environment = {**NO_GPU, "TMPDIR": preparation.root}
    with tempfile.TemporaryFile("w+", errors="replace") as noise:
        try:
            Child(
                "components.datasets.worker:run",
                preparation,
                name="TFDS",
                environment=environment,
                output=noise,
            ).result()
        except GauntletError as error:
            noise.seek(0)
            log.debug("output of the TFDS child process:\n%s", noise.read())
            raise DataError(_one_line(str(error))) from error


def _head(url: str, seconds: float) -> str | None:
    import requests

    try:
        status = requests.head(url, timeout=seconds, allow_redirects=True).status_code
    except requests.RequestException as error:
        return _network_reason(error)
    if status >= 400 and status not in HEAD_NOT_ALLOWED:
        return f"the host answered with HTTP status {status}"
    return None


def _network_reason(error: Exception) -> str:
    """The innermost sentence of requests' nested message: 'Failed to resolve ...'."""
    inner: Any = getattr(error.args[0] if error.args else None, "reason", None) or error
    return str(inner).rpartition("): ")[2]


def _unknown(dataset: str, error: Exception) -> str:
    import difflib

    import tensorflow_datasets as tfds

    known = tfds.list_builders(with_community_datasets=False)
    name = _base_name(dataset)
    if name in known:
        return f"TFDS cannot load {dataset!r}: {_one_line(str(error))}"
    if looks_like_folder(dataset):
        return (
            f"TFDS has no data set {dataset!r}, and there is a folder of that name: write "
            f"./{dataset} to take the images in it"
        )
    near = difflib.get_close_matches(name.lower(), known, n=5)
    hint = f"Did you mean {', '.join(near)}? " if near else ""
    return (
        f"TFDS {tfds.__version__} has no data set {dataset!r}. {hint}Expected one of its "
        f"{len(known)} names, such as mnist, fashion_mnist, cifar10; the list is at "
        "https://www.tensorflow.org/datasets/catalog"
    )


def _base_name(dataset: str) -> str:
    """`mnist` of `mnist/config:1.0.0`."""
    return dataset.partition(":")[0].partition("/")[0]


def _one_line(message: str) -> str:
    return " ".join(message.split())[:600]
