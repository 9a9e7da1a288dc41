"""TfdsExampleGen: any tfds image-classification data set as TFX Examples."""
