"""Getting a TFDS data set onto this machine, prepared, verified and fingerprinted.

`prepare.prepare` is the entry; the pipeline's first component reads what it returns. Nothing here
knows about TFX, models or attacks.
"""
