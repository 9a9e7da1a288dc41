"""The stand-alone evaluator behind `gauntlet evaluate`: one model, one split, no pipeline.

It loads any model, has it judged batch by batch, keeps the verdicts on disk, and must not know TFX.
"""
