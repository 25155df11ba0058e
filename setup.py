"""The one thing that pyproject.toml can't say yet: the accelerator, built where it can be."""

import sys

from setuptools import Extension, setup

# Warnings are errors in CI only: another compiler must not fail an install for its opinion.
flags = [] if sys.platform == "win32" else ["-O3", "-Wall", "-Wextra", "-fvisibility=hidden"]

setup(
    ext_modules=[
        Extension(
            "websocket._accel._c",
            [
                f"websocket/_accel/{name}.c"
                for name in ("_c", "_keys", "_encode", "_scan", "_sockets", "_fast_path")
            ],
            depends=["websocket/_accel/_c.h"],
            extra_compile_args=flags,
            # Without a compiler the install succeeds, and the Python twin serves.
            optional=True,
        )
    ]
)
