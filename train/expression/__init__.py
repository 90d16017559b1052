"""The expression task: its batches, its loss and its figures."""
