"""Runs a compiled specification on this machine, task by task, as the platforms do.

What a cluster would do with a specification is seen without one: each task is a process, or a
container, with exactly the command, arguments and environment of the specification, and it is given
what its platform gives. `platform` walks the graph, `messages` is what a task is given and reports,
`metadata` what is kept of tasks that were done, `machine` what runs a command.

Follows backend/src/v2 of Kubeflow Pipelines 2.3.0 to 2.17.0: `driver/driver.go` (inputs,
fingerprint), `component/launcher_v2.go` (placeholders, `LocalPathForURI`, `mergeRuntimeArtifacts`),
`component/importer_launcher.go`, `metadata/client.go` (`ToRuntimeArtifact`).
"""
