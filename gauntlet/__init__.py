"""The command line, the top layer: it may import every other package, and none imports it."""
