"""How rows come to the gates where ChampionChallenge looked for a champion: TFX's Evaluator knows a
module only by its name."""

import functools

from components.evaluator import extractors

custom_extractors = functools.partial(extractors.custom_extractors, challenged=True)
