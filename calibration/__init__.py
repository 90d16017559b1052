"""Numbers → ranges → a quantized graph, with numpy, onnx and ONNX Runtime.

Knows nothing of PyTorch, of data sets or of engines: calibration takes an iterable of uint8 arrays.
"""
