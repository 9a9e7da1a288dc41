"""Runs of before: found in a root, shown again, and compared with each other.

All of it reads what `pipeline.report` wrote into the folders of results, and nothing else: no
artifact, no metadata, no model. Neither TensorFlow nor TFX is imported. Begin with `runs`.
"""
