"""Kubeflow Pipelines: its REST API, v2beta1.

The generated client is used rather than `kfp.Client`, which cannot bound the time of a request and
asks a server that does not answer five times before it says so.
"""

import json
import os
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import kfp_server_api
import urllib3
from gauntlet_kubeflow.clients.compiled import Compiled
from gauntlet_kubeflow.clients.request import Submission
from gauntlet_kubeflow.clients.run import (
    NOT_RUN,
    LostConnection,
    ParameterValues,
    Progress,
    RunState,
    Submitted,
    Task,
    TaskState,
)

from foundation.errors import ConfigError, RunError

SECONDS = 30
"""Time in which the service answers a request."""

POD_TOKEN = Path("/var/run/secrets/kubeflow/pipelines/token")
"""Token of a pod in the cluster, which the kubelet renews."""

NAMESPACE = "kubeflow"
"""Namespace of the runs where the service has one user."""

EXPERIMENT = "Default"

RUN_STATES = {
    "SUCCEEDED": RunState.SUCCEEDED,
    "FAILED": RunState.FAILED,
    "SKIPPED": RunState.FAILED,  # nothing has run
    "CANCELED": RunState.CANCELLED,
}

TASK_STATES = {
    "RUNNING": TaskState.RUNNING,
    "SUCCEEDED": TaskState.DONE,
    "FAILED": TaskState.FAILED,
    "SKIPPED": TaskState.SKIPPED,
}


class KubeflowPipelines:
    """A service of Kubeflow Pipelines.

    Raises:
        ConfigError: the submission names no host, or a token that cannot be read.
    """

    def __init__(self, submission: Submission) -> None:
        if not submission.host:
            raise ConfigError(
                "--host names no service of Kubeflow Pipelines; for one that `kubectl port-forward "
                "-n kubeflow svc/ml-pipeline-ui 8080:80` has made reachable it is "
                "http://localhost:8080"
            )
        host = submission.host.rstrip("/")
        self._host = host if "://" in host else f"https://{host}"
        self._asked = submission
        self._api = kfp_server_api.ApiClient(_configuration(self._host, submission.token))
        self._experiments = kfp_server_api.ExperimentServiceApi(self._api)
        self._runs = kfp_server_api.RunServiceApi(self._api)

    def submit(self, compiled: Compiled, values: ParameterValues) -> Submitted:
        """Start a run; see `Platform`."""
        experiment = self._experiment(self._asked.experiment or EXPERIMENT)
        name = f"{compiled.name} {datetime.now(UTC):%Y-%m-%d %H:%M:%S} {uuid.uuid4().hex[:4]}"
        spec: dict[str, Any] = dict(compiled.spec)
        if compiled.platform:
            spec = {"pipeline_spec": spec, "platform_spec": dict(compiled.platform)}
        run = kfp_server_api.V2beta1Run(
            display_name=name,
            experiment_id=experiment,
            pipeline_spec=spec,
            runtime_config=kfp_server_api.V2beta1RuntimeConfig(
                parameters=dict(values), pipeline_root=self._asked.pipeline_root or None
            ),
            service_account=self._asked.service_account or None,
        )
        try:
            answer = self._ask(self._runs.run_service_create_run, run)
        except LostConnection as error:
            raise LostConnection(
                f"{error}; the run may have begun: look for '{name}' at {self._host}/#/runs"
            ) from error
        if not answer.run_id:
            raise self._foreign()
        return Submitted(
            run_id=answer.run_id,
            url=f"{self._host}/#/runs/details/{answer.run_id}",
            tasks=compiled.tasks,
        )

    def progress(self, run: Submitted) -> Progress:
        """How far a run is; see `Platform`."""
        answer = self._ask(self._runs.run_service_get_run, run.run_id)
        nodes = Nodes((answer.run_details and answer.run_details.task_details) or [])
        namespace = self._asked.namespace or NAMESPACE
        return Progress(
            state=RUN_STATES.get(answer.state, RunState.RUNNING),
            tasks=tuple(nodes.task(name, namespace) for name in run.tasks),
            error=_message(answer.error),
        )

    def _experiment(self, name: str) -> str:
        """The id of an experiment, which is created where there is none."""
        same_name = {"operation": 1, "key": "display_name", "stringValue": name}
        place = {"namespace": self._asked.namespace} if self._asked.namespace else {}
        answer = self._ask(
            self._experiments.experiment_service_list_experiments,
            filter=json.dumps({"predicates": [same_name]}, allow_nan=False),
            **place,
        )
        for experiment in answer.experiments or ():
            return str(experiment.experiment_id)
        experiment = kfp_server_api.V2beta1Experiment(display_name=name, **place)
        made = self._ask(self._experiments.experiment_service_create_experiment, experiment)
        return str(made.experiment_id)

    def _foreign(self) -> ConfigError:
        return ConfigError(
            f"{self._host} does not answer as Kubeflow Pipelines does; --host is the address under "
            "which its API is found, and a page to log in asks for --token"
        )

    def _ask(self, request: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        """The answer to a request; errors are put in our words."""
        try:
            answer = request(*arguments, _request_timeout=SECONDS, **named)
        except kfp_server_api.ApiException as error:
            raise self._refusal(error) from error
        except urllib3.exceptions.HTTPError as error:
            reason = getattr(error, "reason", None) or error
            if isinstance(reason, urllib3.exceptions.SSLError):
                raise self._untrusted(reason) from error
            raise LostConnection(f"{self._host} does not answer: {_short(reason)}") from error
        except (AttributeError, TypeError, ValueError) as error:  # JSON of another API
            raise self._foreign() from error
        if not self._api.last_response.data.startswith("{"):  # read as an object without content
            raise self._foreign()
        return answer

    def _refusal(self, error: kfp_server_api.ApiException) -> Exception:
        if not error.status:
            return self._untrusted(error.reason)
        said = f"{self._host} answers {error.status} {error.reason}".rstrip()
        if error.status in (401, 403) or 300 <= error.status < 400:
            return ConfigError(
                f"{said}: it wants to know who you are, or you have no right to do this; give "
                "--token and, where there are several users, --namespace"
            )
        message = _body_message(error.body)
        if error.status >= 500 or error.status == 429:
            return LostConnection(f"{said}{message}")
        return RunError(f"{said}{message}")

    def _untrusted(self, reason: object) -> ConfigError:
        return ConfigError(
            f"the certificate of {self._host} is not trusted ({_short(reason)}); name the file of "
            "its authority in SSL_CERT_FILE"
        )


class Nodes:
    """The nodes of Argo's workflow, of which several make a task.

    Of a task `T` they are the driver `T-driver`, `T`, and below it `executor` with the container,
    or, where it may be retried, one for each try: backend/src/v2/compiler/argocompiler of KFP 2.0.5
    to 2.17.0. A cached task has an executor that was skipped. Names of children are ids of nodes,
    which end as the names of their pods do: `RetrievePodName` in
    backend/src/common/util/workflow.go.
    """

    def __init__(self, details: list[Any]) -> None:
        self._by_name = {detail.display_name: detail for detail in details}
        self._by_id = {_hash(detail.pod_name): detail for detail in details if detail.pod_name}

    def task(self, name: str, namespace: str) -> Task:
        """A task of the pipeline."""
        node, driver = self._by_name.get(name), self._by_name.get(f"{name}-driver")
        if driver and driver.state == "FAILED":
            node = driver
        if not node:
            state = TaskState.RUNNING if driver else TaskState.WAITING
            return Task(name=name, state=state)
        state = TASK_STATES.get(node.state, TaskState.WAITING)
        last = self._last(node)
        if state is TaskState.DONE and last is not node and last.state == "SKIPPED":
            state = TaskState.CACHED
        pod = last.pod_name
        return Task(
            name=name,
            state=state,
            seconds=_seconds(node),
            log=f"kubectl logs -n {namespace} {pod} -c main" if pod else "",
            error=_message(last.error),
            code=NOT_RUN if node is driver else None,
        )

    def _last(self, node: Any) -> Any:
        """The node at the end of a task: of its last try."""
        for child in reversed(node.child_tasks or ()):
            below = self._by_id.get(_hash(child.pod_name or child.task_id or ""))
            if below and below is not node and below.display_name.startswith("executor"):
                return self._last(below)
        return node


def _configuration(host: str, token: str) -> kfp_server_api.Configuration:
    """How the service is reached. We ask again ourselves, and a redirection is a page to log in."""
    configuration = kfp_server_api.Configuration(host=host)
    configuration.retries = urllib3.Retry(0, redirect=False, raise_on_redirect=False)
    configuration.ssl_ca_cert = os.environ.get("SSL_CERT_FILE")
    if not token and POD_TOKEN.exists():
        token = f"@{POD_TOKEN}"
    if token:
        configuration.api_key["authorization"] = _token(token)
        configuration.api_key_prefix["authorization"] = "Bearer"
    if token.startswith("@"):
        configuration.refresh_api_key_hook = lambda own: own.api_key.update(
            authorization=_token(token)
        )
    return configuration


def _token(given: str) -> str:
    """The token itself; one in a file is read again for each request, because it may be renewed."""
    if not given.startswith("@"):
        return given
    try:
        return Path(given[1:]).read_text().strip()
    except OSError as error:
        raise ConfigError(f"--token: {given[1:]} cannot be read: {error.strerror}") from error


def _hash(node: str) -> str:
    return node.rpartition("-")[2]


def _seconds(node: Any) -> float:
    """Seconds from start to end; what has not ended has an end before its start."""
    if not node.start_time or not node.end_time:
        return 0.0
    return max(0.0, float((node.end_time - node.start_time).total_seconds()))


def _message(status: Any) -> str:
    return str(status.message or "") if status else ""


def _body_message(body: Any) -> str:
    """What the service says beside its status, as the end of a sentence."""
    try:
        content = json.loads(body)
        said = content.get("message") or content.get("error")
    except (ValueError, TypeError, AttributeError):
        said = None
    return f": {_short(said)}" if said else ""


def _short(said: object) -> str:
    """One line."""
    return " ".join(str(said).split())[:300]
