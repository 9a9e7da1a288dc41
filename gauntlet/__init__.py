"""The command line: it turns options into requests, has a child process do the work, shows what
came of it.

The top layer: it may import every other package, and none imports it. What is computed, judged or
pushed is decided further down. Begin with `cli`, the list of commands; each is a module in
`commands`. `evaluation` is the stand-alone evaluator behind `gauntlet evaluate`, which knows no
pipeline.
"""
