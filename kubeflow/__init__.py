"""Vertex AI and Kubeflow Pipelines v2: compiling the pipeline for them, and its container.

Installed as `gauntlet_kubeflow`, because the Kubeflow SDK owns the import name `kubeflow`.
"""
