"""Data, networks, recipes, fitting and evaluation, in PyTorch.

Knows nothing of ONNX, engines or calibration. `train.datasets` is torch-free, so the other rooms may read faces too.
"""
