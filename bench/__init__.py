"""Side by side with its rivals: ``python -m bench`` in a development install.

Only ratios of one run mean anything. Every contestant runs in an environment of its own, all of
them against one server in C, turn by turn over several rounds; the raw socket's line in each
table shows that the server is not what is measured.
"""
