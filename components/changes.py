"""Changes by hand: who made them, when and why, and what was done to a blessing.

Who it was is what the system knows of the process: a number of a user, its name, and the machine.
Read without TFX.
"""

import datetime
import json
import os
import pwd
import socket
import unicodedata
from dataclasses import dataclass
from enum import StrEnum

from foundation.errors import ConfigError


class Change(StrEnum):
    """What was done to a blessing by hand: the name of its property that holds the signature."""

    WITHDRAWN = "withdrawn"
    RESTORED = "restored"
    FORCED = "forced"


@dataclass(frozen=True, kw_only=True)
class Signature:
    """Who changed something by hand, when (UTC) and why."""

    by: str
    at: str
    reason: str


def signed(reason: str, claim: str = "") -> Signature:
    """The signature of whoever runs this process, now; raises ConfigError without a reason.

    claim: name by which they want to be known; it is noted as what they say.
    """
    require_reason(reason)
    require_line("--by", claim)
    return Signature(by=whoami(claim), at=now(), reason=reason)


def require_reason(reason: str) -> None:
    """Raises ConfigError for an empty reason, or one that is more than a line of text."""
    if not reason.strip():
        raise ConfigError('say why, by --reason "..."; it stands in every listing')
    require_line("--reason", reason)


NO_TEXT = ("Cc", "Cs", "Zl", "Zp")
"""Categories of Unicode that end a line or steer a terminal."""

TURNS = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
"""Characters that turn the direction of what follows them."""


def require_line(option: str, text: str) -> None:
    """Raises ConfigError for what would be more in a listing than a line of text."""
    if any(unicodedata.category(sign) in NO_TEXT or sign in TURNS for sign in text):
        raise ConfigError(
            f"{option} takes one line of text, without line breaks and control characters, got "
            f"{text!r}"
        )


def whoami(claim: str = "") -> str:
    """Who runs this process: the real user and the machine, and after that what nobody has checked:
    a claim, and the user who called sudo."""
    uid = os.getuid()
    try:
        user = f"{pwd.getpwuid(uid).pw_name} (uid {uid})"
    except KeyError:
        user = f"uid {uid}"
    parts = [f"{user} on {socket.gethostname()}"]
    if claim.strip():
        parts.append(
            f"by own account {json.dumps(claim.strip(), ensure_ascii=False, allow_nan=False)}"
        )
    if sudo := os.environ.get("SUDO_USER"):
        parts.append(f"SUDO_USER {json.dumps(sudo, ensure_ascii=False, allow_nan=False)}")
    return ", ".join(parts)


def now() -> str:
    """The time as all records have it: UTC, to the second."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
