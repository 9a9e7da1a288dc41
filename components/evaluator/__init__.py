"""The Evaluator: TFX's own, with gates as metrics of TFMA, and refusals that explain themselves.

Rows come together by image (`extractors`); what the models made of one (`outcome`) is counted with
all that say the same (`tally`), and from there a gate measures. A gate knows its question, its
measure and its sentence; presets and configuration only choose among gates. Begin with `gate`.
"""
