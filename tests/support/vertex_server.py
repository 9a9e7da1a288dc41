"""Vertex AI's REST interface, as far as pipeline jobs, models and endpoints need it."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from compiled_files import TASKS
from loopback import Answer, Asked, Loopback, Reply

PLACE = "projects/p/locations/europe-west4"
START, END = "2026-11-27T08:00:00Z", "2026-11-27T08:01:30Z"
JOB = "projects/1/locations/europe-west4/customJobs/77"


def credentials(folder: Path) -> Path:
    """The file of a service account, whose tokens it signs itself."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    file = folder / "account.json"
    text = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()
    account = {
        "type": "service_account",
        "project_id": "p",
        "private_key_id": "1",
        "private_key": text,
        "client_email": "robot@p.iam.gserviceaccount.com",
        "token_uri": "https://127.0.0.1:1/token",
    }
    file.write_text(json.dumps(account))
    return file


FAILURE = "The replica workerpool0-0 exited with a non-zero status of {}"
"""What Vertex AI says of a container that failed."""


def job(
    state: str, *states: str, error: str = "", failure: str = FAILURE.format(1)
) -> dict[str, Any]:
    """A pipeline job, with its tasks each in a state; "" for one that has not begun. failure: what
    is said of tasks that failed."""
    details = [{"taskId": "1", "taskName": "gauntlet-2026", "state": "RUNNING"}]
    for name, task_state in zip(TASKS, states, strict=False):
        if task_state:
            ended = task_state in ("SUCCEEDED", "FAILED", "SKIPPED")
            details.append(
                {
                    "taskId": str(len(details) + 1),
                    "taskName": name,
                    "state": task_state,
                    "startTime": START,
                    "executorDetail": {"containerDetail": {"mainJob": JOB}},
                    **({"endTime": END} if ended else {}),
                    **(
                        {"error": {"code": 9, "message": failure}} if task_state == "FAILED" else {}
                    ),
                }
            )
    return {
        "state": f"PIPELINE_STATE_{state}",
        "jobDetail": {"taskDetails": details},
        **({"error": {"code": 9, "message": error}} if error else {}),
    }


def refusal(status: int, message: str = "no") -> Answer:
    """An error as Google's services write it."""
    return Answer(status=status, body={"error": {"code": status, "message": message}})


def pipelines(*script: Reply, create: Reply | None = None) -> Loopback:
    """A server whose job goes through the script, one step a question, and stays at the last."""
    steps = list(script)

    def reply(asked: Asked) -> Reply:
        if asked.path == f"/v1/{PLACE}/pipelineJobs" and asked.method == "POST":
            named = {"name": f"{PLACE}/pipelineJobs/{asked.query['pipelineJobId']}"}
            return named if create is None else create
        if asked.path.startswith(f"/v1/{PLACE}/pipelineJobs/gauntlet-"):
            return steps.pop(0) if len(steps) > 1 else steps[0]
        return refusal(404, f"no {asked.method} {asked.path}")

    return Loopback(reply)


Routes = Mapping[tuple[str, str], Reply | Callable[[Asked], Reply]]


def registry(routes: Routes) -> Loopback:
    """A server with an answer for each method and path below the region."""

    def reply(asked: Asked) -> Reply:
        told = routes.get((asked.method, asked.path.removeprefix(f"/v1/{PLACE}/")))
        if told is None:
            return refusal(404, f"no {asked.method} {asked.path}")
        return told(asked) if callable(told) else told

    return Loopback(reply)
