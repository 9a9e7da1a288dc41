"""Where a compiled pipeline can run; read without TFX."""

from enum import StrEnum


class Target(StrEnum):
    """Vertex AI takes a pipeline job, open-source Kubeflow Pipelines v2 the bare specification."""

    VERTEX = "vertex"
    KFP_V2 = "kfp-v2"
