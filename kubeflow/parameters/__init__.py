"""Settings that are given when a run is submitted, without compiling again.

Most of what a setting decides is deep inside a task's own parameters, so the platform cannot put a
value there. Therefore the first task of a compiled pipeline, `Parameters`, compiles the pipeline
again with the values of the run, inside the cluster, and hands every task what has become of its
parameters. A wrong value ends the run there, before anything was computed; and a task whose
parameters stay what they were is known again by the platform's cache.

`values` are the settings, `routes` where their effects go in a specification, `task` what the first
task runs, `given` what a person says when a run is submitted.
"""
