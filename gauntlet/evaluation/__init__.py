"""The stand-alone evaluator: one model from disk, judged on one split, with a report.

It stands behind `gauntlet evaluate` and must know nothing of pipelines. The judge is the one of the
pipeline's attack node (`robustness.evaluation`). Begin with `task` (what can be asked for), then
`evaluator`; `verdicts` keeps what was found out on disk, `report` is what comes back.
"""
