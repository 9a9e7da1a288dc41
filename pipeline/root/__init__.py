"""The folder of a pipeline on this machine: its layout, what ML Metadata knows of its runs, and
which models are blessed.

The rooms above ask here for places, artifacts and blessings; this room knows nothing of
configuration and of what nodes compute. Begin with `Root` in `root`.
"""
