"""AdversarialExampleGen: attacks and certifies trained models, and records every attacked image.

The judging is `robustness`'s; here it becomes a Beam pipeline over shards, whose output is read
back and checked.
"""
