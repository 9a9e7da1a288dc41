"""ONNX files as TensorFlow operations: the way in for networks of PyTorch.

`network` is what the door asks for, `model` runs the nodes of a graph, `file` reads and refuses
files, `values` says how a tensor is stored. The table of operators is in `operations`; its entries
are there and in the modules beside it, `sizes` has those that compute with sizes alone.
"""
