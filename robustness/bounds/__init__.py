"""Certified bounds: proofs that no perturbation in the L-infinity ball changes a prediction.

`Certifier` in `robustness.bounds.certifier` has them all. `trace` reads a model's graph as a list
of layers: `inlining` opens the functions that it calls, `graph` tells what depends on the image,
`patterns` and `rules` say which layers its operations become. `layers` says what a layer is;
`linear`, `moves`, `pooling` and `activations` have them, `curves` the smooth functions among them.
`rounding` accounts for float32. `propagation` goes through a network forwards by intervals and
backwards by lines, `branching` proves by cases. The interval bounds of `training` are there to
train with; they prove nothing.
"""
