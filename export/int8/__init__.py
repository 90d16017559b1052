"""A model directory's INT8: from faces and ranges to both forms, what they cost, and what repairs them."""
