"""ChampionChallenge: the model that is served faces what the candidate faced, and the candidate
faces the attacks on it.

Without such a model the rows are passed on, so that the Evaluator always reads the same record.
"""
