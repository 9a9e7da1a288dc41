"""What is asked of a deployment; read without any client library."""

import re
from dataclasses import dataclass
from enum import StrEnum

from foundation.errors import ConfigError

LABEL = "[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
LABEL_TEXT = "at most 63 of a-z, 0-9 and '-', and no '-' at either end"

SERVICE_NAME = "[a-z]([-a-z0-9]{0,61}[a-z0-9])?"
"""What KServe's webhook takes: `IsvcNameFmt`, pkg/apis/serving/v1beta1."""

QUANTITY = "[0-9]+(\\.[0-9]+)?(m|k|M|G|T|Ki|Mi|Gi|Ti)?"

RUNTIME_VERSION = "2.21.0"
"""Tag of tensorflow/serving for KServe, which puts it in place of its runtime's own
(`UpdateImageTag`, pkg/controller/v1beta1/inferenceservice/utils/utils.go): the TensorFlow that
writes our models. KServe's default is older, and an older one need not load what a newer one
wrote."""


class Destination(StrEnum):
    """What shall serve a version."""

    KSERVE = "kserve"
    VERTEX = "vertex"


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where versions lie as the platform sees them. folder: of numbered versions. version: '' for
    the newest."""

    folder: str
    version: str = ""

    @classmethod
    def of(cls, uri: str) -> "Place":
        """The place of `FOLDER/VERSION`, or of a folder."""
        folder, _, last = uri.rstrip("/").rpartition("/")
        if last.isdigit():
            return cls(folder=folder, version=last)
        return cls(folder=uri.rstrip("/"))


@dataclass(frozen=True, kw_only=True)
class Service:
    """An InferenceService of KServe.

    name, namespace: labels of RFC 1123. cpu, memory: quantities of Kubernetes, requested and at
    most. runtime_version: tag of the image tensorflow/serving. service_account: account that may
    read the store; '' for the namespace's own.
    """

    name: str
    namespace: str
    cpu: str
    memory: str
    runtime_version: str
    service_account: str = ""

    def __post_init__(self) -> None:
        for option, value, pattern, what in (
            ("name", self.name, SERVICE_NAME, f"a letter first, {LABEL_TEXT}"),
            ("namespace", self.namespace, LABEL, LABEL_TEXT),
            ("cpu", self.cpu, QUANTITY, "a quantity such as 1, 0.5 or 500m"),
            ("memory", self.memory, QUANTITY, "a quantity such as 2Gi or 500M"),
        ):
            if not re.fullmatch(pattern, value):
                raise ConfigError(f"--{option} is {what}; got {value!r}")


@dataclass(frozen=True, kw_only=True)
class Registration:
    """A model of Vertex AI's registry, and the endpoint that serves it.

    project, region: of Google Cloud. api_endpoint: address of the service; '' for Google's own.
    name: display name of the model, of which each upload is a version. serving_image: container
    image; '' for Google's newest for TensorFlow. endpoint: display name; '' for an upload only.
    traffic: percent of the endpoint's requests that the version answers.
    """

    project: str
    region: str
    api_endpoint: str
    name: str
    serving_image: str
    endpoint: str
    machine_type: str
    traffic: int
