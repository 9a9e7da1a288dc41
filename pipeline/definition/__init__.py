"""What a run computes: configuration, presets, gates and the DAG.

It reads schemas and code, writes nothing, starts nothing, and knows none of the other rooms,
because Kubeflow compiles it too. Begin with `create_pipeline` in `dag`.
"""

DEFAULT_PRESET = "robust"
"""The preset of who names none; here, where a help text reads it without any preset."""
