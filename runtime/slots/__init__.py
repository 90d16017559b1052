"""The device's half of an update: receive, verify, prepare, try, switch, and then commit or roll back.

Run by the mien that the device was set up with, never by the one in a slot: a broken bundle must not be what decides
on itself. `export/deploy` only calls these verbs over ssh.
"""
