"""ServingCheck: before the push, a fresh process loads the export and answers requests, good ones
and bad ones.

It knows nothing of accuracy: it asks whether what will be served is what was evaluated.
"""
