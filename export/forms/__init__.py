"""How else than by `mien deploy` a bundle comes to a machine: a Debian package, a root file system, an image.

Each takes a signed bundle as it is, and what was installed is a slot that `mien deploy` goes on from.
"""
