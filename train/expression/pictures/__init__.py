"""Pictures of a network's figures, one idea a file. They draw what they are given and measure nothing."""
