"""Sphinx configuration: ``sphinx-build -W -b html docs docs/_build`` in the extra ``docs``."""

from __future__ import annotations

import re
from typing import Any

import websocket

project = "websocket-client"
author = "the websocket-client project"
project_copyright = "the authors; Apache License 2.0"
release = version = websocket.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
root_doc = "index"

myst_heading_anchors = 3

default_role = "code"
add_module_names = False
python_use_unqualified_type_names = True
# One parameter per line as soon as a signature would not fit the page.
maximum_signature_line_length = 70
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
napoleon_numpy_docstring = False
# As plain text: what stands in parentheses here are arguments of callbacks, not types.
napoleon_use_param = False

html_theme = "furo"
html_title = f"websocket-client {release}"
html_copy_source = False
html_show_sphinx = False


def prepare_docstring(
    app: Any, what: str, name: str, obj: object, options: Any, lines: list[str]
) -> None:
    """Bring habits of our docstrings into the form that napoleon knows."""
    text = re.sub(r"^( *Parameters) \(.*\):$", r"\1:", "\n".join(lines), flags=re.MULTILINE)
    text = re.sub(r"^( *)Raises:\n *(what .*)$", r"\1Raises \2", text, flags=re.MULTILINE)
    # A list of names that goes on in the next line is one entry.
    text = re.sub(r"^( *)(\S.*,)\n\1(?=\S)", r"\1\2 ", text, flags=re.MULTILINE)
    lines[:] = text.split("\n")


def setup(app: Any) -> None:
    # Before napoleon, which parses the sections at priority 500.
    app.connect("autodoc-process-docstring", prepare_docstring, priority=400)
