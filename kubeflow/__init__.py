"""Vertex AI and Kubeflow Pipelines v2: compiling the pipeline for them, and its container.

It sees `pipeline.definition`, what is computed, and must know nothing of runs on this machine, of
reports, or of models in production. Begin with `compile`.

Installed as `gauntlet_kubeflow`, because the Kubeflow SDK owns the import name `kubeflow`.
"""
