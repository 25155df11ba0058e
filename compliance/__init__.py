"""Runs the Autobahn test suite against the library's faces and compares the outcome.

``python -m compliance`` is the command; ``compliance/README.md`` explains it.
"""
