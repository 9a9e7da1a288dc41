"""The Evaluator: TFX's own, with gates as metrics of TFMA, and refusals that explain themselves.

A gate knows its question, its judgement and its sentence; it judges a tally of images, from which
the report takes its figures too. Begin with `gate`, then `tally`.
"""
