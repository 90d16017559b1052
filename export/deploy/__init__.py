"""A bundle → many devices, over plain ssh. Only drives: each device verifies, tries, switches and decides by itself."""
