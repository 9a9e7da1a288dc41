"""The folder of a pipeline on this machine, and what ML Metadata knows of its runs.

The rooms above ask here for places and artifacts; this room knows nothing of configuration, nodes
and models.
"""
