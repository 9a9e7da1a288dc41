"""Who did it: what the system knows, whatever the environment says."""

import os
import socket
import subprocess
import sys

import pytest

from components.changes import signed, whoami


def test_the_environment_does_not_say_who_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    own = whoami()
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.setenv(name, "ceo")
    assert whoami() == own
    assert f"(uid {os.getuid()}) on {socket.gethostname()}" in own


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_a_user_without_a_name_is_a_number() -> None:
    code = "import os; from components.changes import whoami; os.setuid(12345); print(whoami())"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd="/"
    )
    assert done.stdout.strip() == f"uid 12345 on {socket.gethostname()}"


def test_what_they_say_is_a_claim(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUDO_USER", "eve")
    signature = signed("too slow", 'Ada" (uid 0) on moon')
    own, _, claims = signature.by.partition(", ")
    assert own.endswith(f" on {socket.gethostname()}")
    assert claims == r'by own account "Ada\" (uid 0) on moon", SUDO_USER "eve"'
    assert (signature.reason, signature.at[-6:]) == ("too slow", "+00:00")


@pytest.mark.parametrize(
    "reason", ["trop lent\u00a0: arrêt", "遅い\u3000ため", "👩\u200d🚒 emergency"]
)
def test_a_reason_in_any_language(reason: str) -> None:
    assert signed(reason).reason == reason
