"""One file from a web address, with progress; the fallback of mirrors where a package program is
missing."""

from pathlib import Path

from foundation.errors import DataError
from foundation.events import Progress

CONNECT_READ_SECONDS = (10, 60)
BLOCK = 1 << 16


def download(url: str, path: Path) -> None:
    """Download to `path` with progress; raises DataError."""
    import requests  # only mirrors need it

    try:
        with requests.get(url, stream=True, timeout=CONNECT_READ_SECONDS) as response:
            response.raise_for_status()
            total = int(response.headers.get("Content-Length", 0))
            progress, done = Progress("downloading", total), 0
            with path.open("wb") as target:
                for block in response.iter_content(BLOCK):
                    target.write(block)
                    done += len(block)
                    if total:
                        progress.update(done)
    except requests.RequestException as error:
        raise DataError(f"{url} could not be downloaded: {error}") from error
