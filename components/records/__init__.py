"""The record of attacked images: its columns and rows, the shards in which they lie, and the one
checked way to write them.

AdversarialExampleGen and ChampionChallenge write it, the Evaluator and the report read it; nobody
else knows a column by its name in the file. Begin with `record`, then `writer`.
"""
