"""Shared by all tests: the environment that TensorFlow needs, and small models with known answers."""

import os

os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
