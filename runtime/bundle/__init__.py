"""A bundle on the device: one signed manifest, and a tar that is exactly what the manifest says, or refused.

`mien bundle` writes it on a workstation (`export/bundle`); this half reads it. Never holds an engine: those are
compiled where they run.
"""
