"""What a run reports: `summary.json` and the pictures, read from the artifacts of its nodes.

It measures nothing itself: values of gates are the Evaluator's. Begin with `write_results` in
`summary`.
"""
