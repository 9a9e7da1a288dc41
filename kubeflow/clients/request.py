"""What is asked of a platform; read without any client library."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path


class Destination(StrEnum):
    """Where a compiled pipeline is sent: a service, or an executor on this machine."""

    VERTEX = "vertex"
    KFP_V2 = "kfp-v2"
    LOCAL = "local"


@dataclass(frozen=True, kw_only=True)
class Submission:
    """A compiled pipeline, and where and how it shall run.

    file: what `gauntlet compile` wrote. assignments: runtime parameters, `section.key=value`.
    pipeline_root: folder of the artifacts in place of the compiled one. no_cache: whether all
        tasks run, whatever earlier runs did. service_account: account of the tasks.
    project, region: of Google Cloud. api_endpoint: address of the service; '' for Google's own.
    host, namespace, experiment: of Kubeflow Pipelines. token: token of its user, or @FILE.
    """

    target: Destination
    file: Path
    assignments: tuple[str, ...] = ()
    pipeline_root: str = ""
    no_cache: bool = False
    service_account: str = ""
    project: str = ""
    region: str = ""
    api_endpoint: str = ""
    host: str = ""
    namespace: str = ""
    experiment: str = ""
    token: str = ""
