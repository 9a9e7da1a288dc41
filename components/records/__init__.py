"""The record of attacked images: its columns, its rows, and the shards in which rows lie.

AdversarialExampleGen and ChampionChallenge write it; the Evaluator and the report read it. Nobody
else knows a column by its name in the file.
"""
