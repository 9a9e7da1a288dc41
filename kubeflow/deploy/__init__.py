"""Serving a pushed version elsewhere: on KServe, or from Vertex AI's model registry.

`pushed` finds the version and whether it may be served, `kserve` writes the manifest, `vertex`
speaks to the registry and to endpoints.
"""
