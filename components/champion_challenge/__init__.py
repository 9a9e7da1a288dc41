"""ChampionChallenge: the model that is served faces what the candidate faced, and the candidate
faces the attacks on it.

Without such a model there is no row, and a file that says why.
"""
