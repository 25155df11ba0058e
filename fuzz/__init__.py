"""Fuzzing: bytes that nobody has thought of, against both twins of the accelerator.

``python -m fuzz`` lists the targets, ``python -m fuzz TARGET --seconds 60`` runs one under
atheris (``pip install atheris``), from the seeds in ``corpus/TARGET`` on. A target is a function
of bytes that raises AssertionError, or anything else, where something is wrong.
"""
