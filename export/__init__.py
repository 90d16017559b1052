"""The top floor: checkpoint → ONNX → engines ahead of time, and the gate that compares them.

Knows every other room; no other room knows this one.
"""
