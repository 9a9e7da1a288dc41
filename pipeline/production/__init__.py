"""The models after their push: rollback, forced push, prediction.

It changes blessings in the metadata and versions under `serving`, and nothing else of a root. The
newest version there is served, and is the champion. `requests` has what can be asked for.
"""
