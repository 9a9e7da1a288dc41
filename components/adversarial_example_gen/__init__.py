"""AdversarialExampleGen: attacks the trained models and records every attacked image."""
