"""The pipeline: what is computed, a run on this machine, its report, its models in production.

Between the command line and Kubeflow above, which start or compile it, and `components` below,
which do the work of its nodes. Five rooms: `definition` (configuration, presets, gates and the DAG;
read by all, and all that Kubeflow sees), `root` (the folder of a pipeline and its metadata),
`report` (summary and pictures), `production` (rollback, forced push, prediction) and `local` (one
run). It must not know of terminals and exit codes, nor how a node computes what it gives.

Begin with `pipeline.definition.dag.create_pipeline`: it is the picture in the README, node by node.
"""
