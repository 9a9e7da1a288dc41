"""Certified bounds: proofs that no perturbation in the L-infinity ball changes a prediction.

`trace` reads a model's graph as a list of layers, `layers` has the rules of each layer, `certifier`
composes them to interval bound propagation, CROWN and alpha-CROWN, `rounding` accounts for float32.
"""
