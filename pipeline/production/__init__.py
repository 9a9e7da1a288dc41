"""The models after their push: rollback, forced push, prediction.

It changes blessings in the metadata and versions under `serving`, and nothing else of a root. The
served version is the newest one there; the champion is the latest blessed model. `requests` has
what can be asked for.
"""
