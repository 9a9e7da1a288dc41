"""Other sources of a data set's official archives, where the stock host cannot be reached.

Only `components.datasets` uses them. A mirror brings archives byte for byte; tfds checks and
prepares them as its own download.
"""
