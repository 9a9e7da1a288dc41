"""One door for models: whatever wrote a file, what comes out is a function from images to logits.

`load.load_model` is the entry. It finds out what a path holds (`formats`), has it read as a
`network.Network` (`keras_model`, `signature`, `onnx_reader`), fits that to the images (`fit`) and
takes off what squashes its logits (`robustness.logits`). `judged.Judged` says what was done:
nothing that decides a number happens in silence.
"""
