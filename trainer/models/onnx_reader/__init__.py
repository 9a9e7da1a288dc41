"""ONNX files as TensorFlow operations: the way in for networks of PyTorch.

`network` is what the door asks for, `model` runs the nodes of a graph, `file` reads and refuses
files. `operations` and `images` have the operators, `shapes` computes with sizes, `values` says how
a tensor is stored.
"""
