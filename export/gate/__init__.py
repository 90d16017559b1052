"""The accuracy gate: does a compiled form still say what the PyTorch network says?"""
