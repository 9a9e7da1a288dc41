"""The gate for a model that exists: what `gauntlet check` makes of an evaluation.

`asked` says what the model must reach, `report` what came of it; each other module writes that in
the words of a system that runs such checks: JUnit, GitHub, SARIF. Read without TensorFlow.
"""
