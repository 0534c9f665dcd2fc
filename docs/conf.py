"""How Sphinx makes the site. What can be read off the code is written into docs/reference at every build."""

from __future__ import annotations

import sys
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import equations  # noqa: E402
import reference  # noqa: E402

project = "onnxprune"
author = "the onnxprune authors"
version = release = installed("onnxprune")
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.viewcode", "sphinx_copybutton"]
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath", "fieldlist"]
myst_heading_anchors = 3
suppress_warnings = ["myst.xref_missing"]  # links into the repository; tests/test_docs.py holds them all
exclude_patterns = ["_*"]
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True}
copybutton_prompt_text = "$ "
copybutton_only_copy_prompt_lines = True
smartquotes = False  # "--shape" is an option, and no dash
html_theme = "furo"
html_title = f"onnxprune {release}"
html_math_renderer = "mathml"
html_copy_source = False
html_show_copyright = False


def setup(app: Any) -> None:
    """Called by Sphinx."""
    app.add_html_math_renderer("mathml", (equations.visit_inline, None), (equations.visit_block, None))
    app.connect("builder-inited", lambda app: reference.write(Path(app.srcdir) / "reference"))
