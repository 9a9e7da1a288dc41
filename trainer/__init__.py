"""Training: preprocessing, networks, recipes, the training itself, and the exported model.

Below `components`: TFX's Trainer, Tuner and Transform call `train.run_fn`, `tuning.tuner_fn` and
`preprocessing.preprocessing_fn` by name. Above `robustness`, whose attacks and bounds measure every
epoch. `recipes` says what each defence minimises, `step` is one step of it, `training` a whole one,
`checkpoints` what a killed one continues from, `export` what is served, `models` reads those of
others, `classes` names their classes. Only `nsl` imports Neural Structured Learning. It must not
know of pipelines, gates, artifacts and folders of runs: a task comes in, an exported model goes
out.

Begin with `train.run_fn`; `config` has every setting and needs no TensorFlow.
"""
