"""The nodes of the pipeline that are ours: TFX components, each beside its executor.

Between `pipeline`, which wires them, and `trainer` and `robustness`, which they call: a component
moves artifacts, and leaves training, attacks and bounds to those. In the order of the data:
`tfds_example_gen` (with `datasets` and `mirrors`), `curated_schema` (with `schema`),
`anomaly_gate`, `tuner`, `adversarial_example_gen`, `champion_challenge` (both write `records`),
`evaluator`, `serving_check`, `pusher`. StatisticsGen, ExampleValidator, Transform and Trainer are
TFX's own. A component must not know of presets, roots, or the node before it: what it needs it is
given as inputs and parameters.

Begin with `records`, the rows that attack, gates and report share.
"""
