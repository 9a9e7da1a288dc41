"""The ground floor: what every other package of ours may stand on.

Errors with their exit codes, log records that tell of progress, processes, seeds of images, the
hash of our own code. It stands below `robustness`, the lowest package with a subject of its own,
and must know nothing of pixels, models, pipelines or the command line (a seed belongs to the id of
an image); only `autotune` imports TensorFlow.

Begin with `errors` (what a user may be told) and `process` (a function in a fresh interpreter).
"""
