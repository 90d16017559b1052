"""Other people's networks: an ONNX file, and how its pixels are scaled, become a model directory."""
