"""Where a compiled pipeline can run; read without TFX."""

from enum import StrEnum


class Target(StrEnum):
    """Vertex AI takes a pipeline job, open-source Kubeflow Pipelines v2 the bare specification."""

    VERTEX = "vertex"
    KFP_V2 = "kfp-v2"


STORES = {Target.VERTEX: ("gs://",), Target.KFP_V2: ("gs://", "s3://", "minio://")}
"""Where artifacts of a run can lie: how their addresses begin."""
