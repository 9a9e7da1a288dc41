"""The Evaluator: TFX's own, with gates as metrics of TFMA, and refusals that explain themselves.

A gate knows its question, its judgement and its sentence; presets and configuration only choose
among gates. Begin with `gate`.
"""
