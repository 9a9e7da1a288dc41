"""One file from a web address, with progress; the fallback of mirrors where a package program is
missing."""

import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING

from foundation.errors import DataError
from foundation.events import Progress

if TYPE_CHECKING:
    import requests

log = logging.getLogger("gauntlet.data")

CONNECT_READ_SECONDS = (10, 60)
TOTAL_SECONDS = 1800.0
MOST_BYTES = 1 << 28
"""Eight times the largest package of a mirror."""

TRIES, PAUSE_SECONDS = 3, 2.0
PASSING = (429, 500, 502, 503, 504)
"""HTTP statuses that may be others a moment later."""

BLOCK = 1 << 16
AS_IT_IS = {"Accept-Encoding": "identity"}


class _Passing(Exception):
    """A failure that may be gone at the next try."""


def download(url: str, path: Path) -> None:
    """Download to `path` with progress; a failure that may pass is tried again.

    Raises:
        DataError: it failed, is larger than `MOST_BYTES` or took longer than `TOTAL_SECONDS`; there
            is no file then.
    """
    deadline = time.monotonic() + TOTAL_SECONDS
    try:
        for attempt in range(1, TRIES + 1):
            try:
                return _once(url, path, deadline)
            except _Passing as error:
                if attempt == TRIES:
                    raise DataError(f"{url} could not be downloaded: {error}") from error
                log.info("%s; try %d of %d follows", error, attempt + 1, TRIES)
                time.sleep(attempt * PAUSE_SECONDS)
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def _once(url: str, path: Path, deadline: float) -> None:
    import requests  # only mirrors need it
    from urllib3.exceptions import HTTPError

    try:
        with requests.get(
            url, stream=True, timeout=CONNECT_READ_SECONDS, headers=AS_IT_IS
        ) as response:
            if response.status_code in PASSING:
                raise _Passing(f"{response.status_code} {response.reason}")
            response.raise_for_status()
            _store(response, path, deadline)
    except requests.HTTPError as error:
        raise DataError(f"{url} could not be downloaded: {error}") from error
    except (requests.RequestException, HTTPError) as error:
        raise _Passing(str(error)) from error


def _store(response: "requests.Response", path: Path, deadline: float) -> None:
    """Write what comes, block by block as it comes, so that the limits hold for slow hosts too."""
    length = response.headers.get("Content-Length", "")
    total = int(length) if length.isdecimal() else 0
    progress, done = Progress("downloading", total), 0
    with path.open("wb") as target:
        while block := response.raw.read1(BLOCK):
            done += len(block)
            if max(done, total) > MOST_BYTES:
                raise DataError(f"{response.url} is larger than {MOST_BYTES:,} bytes")
            if time.monotonic() > deadline:
                raise DataError(f"{response.url} did not finish within {TOTAL_SECONDS:g} s")
            target.write(block)
            if total:
                progress.update(done)
