"""One run on this machine, from the data to the summary.

It prepares the data, assembles the pipeline for a local root, runs its nodes and has the report
written. Begin with `run_job` in `job`.
"""
