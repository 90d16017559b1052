"""Where scenes go, each in a file of its own: `sinks.py` holds them all, and keeps one's failure from the others."""
