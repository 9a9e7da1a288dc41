"""Vertex AI: pipeline jobs."""

import re
import uuid
from datetime import UTC, datetime
from typing import Any

from gauntlet_kubeflow.clients import google as cloud
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
from google.cloud.aiplatform_v1 import types
from google.cloud.aiplatform_v1.services.pipeline_service import PipelineServiceClient

STATES = types.PipelineState
TASK = types.PipelineTaskDetail.State

RUN_STATES = {
    STATES.PIPELINE_STATE_SUCCEEDED: RunState.SUCCEEDED,
    STATES.PIPELINE_STATE_FAILED: RunState.FAILED,
    STATES.PIPELINE_STATE_CANCELLED: RunState.CANCELLED,
}

EXIT_CODE = re.compile(r"exited with a non-zero status of (\d+)")
"""How the error of a task tells its container's exit code
(https://cloud.google.com/vertex-ai/docs/training/troubleshooting)."""

TASK_STATES = {
    TASK.RUNNING: TaskState.RUNNING,
    TASK.CANCEL_PENDING: TaskState.RUNNING,
    TASK.CANCELLING: TaskState.RUNNING,
    TASK.SUCCEEDED: TaskState.DONE,
    TASK.SKIPPED: TaskState.CACHED,  # so Vertex AI calls a hit of its cache
    TASK.FAILED: TaskState.FAILED,
    TASK.CANCELLED: TaskState.SKIPPED,
    TASK.NOT_TRIGGERED: TaskState.SKIPPED,
}


class VertexPipelines:
    """The pipelines of a project in a region.

    Raises:
        ConfigError: project or region are not named, or there are no credentials.
    """

    def __init__(self, submission: Submission) -> None:
        cloud.check_place(submission.project, submission.region)
        self._asked = submission
        self._parent = f"projects/{submission.project}/locations/{submission.region}"
        self._jobs = cloud.client(PipelineServiceClient, submission.region, submission.api_endpoint)
        self._address = self._jobs.api_endpoint

    def submit(self, compiled: Compiled, values: ParameterValues) -> Submitted:
        """Start a run; see `Platform`."""
        job = types.PipelineJob(
            display_name=compiled.name,
            pipeline_spec=dict(compiled.spec),
            runtime_config={
                "gcs_output_directory": self._asked.pipeline_root or compiled.root,
                "parameter_values": dict(values),
            },
            service_account=self._asked.service_account,
        )
        name = re.sub("[^a-z0-9]+", "-", compiled.name.lower()).strip("-")
        job_id = f"{name}-{datetime.now(UTC):%Y%m%d%H%M%S}-{uuid.uuid4().hex[:4]}"
        run = Submitted(run_id=job_id, url=self._url(job_id), tasks=compiled.tasks)
        try:
            with cloud.answering(self._address):
                made = self._jobs.create_pipeline_job(
                    parent=self._parent, pipeline_job=job, pipeline_job_id=job_id,
                    timeout=cloud.SECONDS,
                )  # fmt: skip
        except LostConnection as error:
            raise LostConnection(f"{error}; the run may have begun: look at {run.url}") from error
        if not made.name:
            raise cloud.foreign(self._address)
        return run

    def progress(self, run: Submitted) -> Progress:
        """How far a run is; see `Platform`."""
        with cloud.answering(self._address):
            job = self._jobs.get_pipeline_job(
                name=f"{self._parent}/pipelineJobs/{run.run_id}", timeout=cloud.SECONDS
            )
        if not job.state:
            raise cloud.foreign(self._address)
        details = {detail.task_name: detail for detail in job.job_detail.task_details}
        return Progress(
            state=RUN_STATES.get(job.state, RunState.RUNNING),
            tasks=tuple(self._task(name, details.get(name)) for name in run.tasks),
            error=job.error.message,
        )

    def _task(self, name: str, detail: Any) -> Task:
        if detail is None:
            return Task(name=name, state=TaskState.WAITING)
        ended = detail.end_time and detail.start_time
        code = EXIT_CODE.search(detail.error.message)
        return Task(
            name=name,
            state=TASK_STATES.get(detail.state, TaskState.WAITING),
            seconds=(detail.end_time - detail.start_time).total_seconds() if ended else 0.0,
            log=self._log(detail.executor_detail),
            error=detail.error.message,
            code=int(code[1]) if code else NOT_RUN,
        )

    def _log(self, executor: Any) -> str:
        """The command that shows what the container of a task, a custom job, has written."""
        job = executor.container_detail.main_job or executor.custom_job_detail.job
        if not job:
            return ""
        return (
            f"gcloud logging read resource.labels.job_id={job.rpartition('/')[2]} "
            f"--project={self._asked.project}"
        )

    def _url(self, job_id: str) -> str:
        return (
            "https://console.cloud.google.com/vertex-ai/locations/"
            f"{self._asked.region}/pipelines/runs/{job_id}?project={self._asked.project}"
        )
