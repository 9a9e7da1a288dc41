"""The commands, one a module of its name, which is imported when the command is called.

A command is its options, the request that is built from them, one call of the child process, and
what a person then sees. Modules here import neither TensorFlow nor TFX, so that `--help` answers at
once. Begin with `run`.
"""
