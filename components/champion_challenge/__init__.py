"""ChampionChallenge: the model in production faces what the candidate faced, and each the attacks
on the other."""
