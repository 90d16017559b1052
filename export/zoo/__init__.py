"""Every network of the papers down the whole road, and the records of it."""
