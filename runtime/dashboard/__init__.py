"""The web page of a stream: a process of its own, so that no viewer, slow or hostile, costs inference anything.

The stream leaves a small file and, where asked for, a blurred picture in a folder (`publish.py`); the page's process
reads that folder and the events files, and serves browsers (`serve.py`). Nothing goes the other way.
"""
