"""The ground floor: everything that runs on the device.

Knows numpy, OpenCV and YAML; never torch, onnx or matplotlib, and a vendor's engine library only once it is
chosen (a test walks the syntax tree to keep it so).
"""
