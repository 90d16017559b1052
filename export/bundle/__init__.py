"""Makes what `mien deploy` sends: a model, a detector, a configuration and the wheel, under one signed manifest."""
