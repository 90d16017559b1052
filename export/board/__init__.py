"""The board kit: what a Jetson or an NVIDIA desktop measured of itself, as one record that anyone can send and check.

`make_report.py` measures part by part, each in a process of its own; `record.py` is the schema; `evidence.py` says what
a record proves; `table.py` shows the records in docs/devices.md. Knows nothing of how an engine is built or runs.
"""
