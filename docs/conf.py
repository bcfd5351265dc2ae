"""How the site is built: ``python -m sphinx -W -n -b html docs build/docs``.

1. Nothing is asked of another machine, when the site is built or when it is read.
2. The reference is made from the code: docstrings, the command line's own options, the JSON schema.
3. Warnings are errors, names that lead nowhere too.
"""

from __future__ import annotations

import sys
from importlib.metadata import version as version_of
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "batchwright"
author = "the authors of batchwright"
version = release = version_of("batchwright")

extensions = [
    "sphinx.ext.autodoc",
    "myst_parser",
    "sphinx_copybutton",
    "mathtext",
    "generated",
    "docstrings",
]
exclude_patterns = ["_ext", "*.json"]
language = "en"
root_doc = "index"
suppress_warnings = ["toc.empty_glob"]

myst_enable_extensions = ["attrs_block", "attrs_inline", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
html_math_renderer = "mathtext"

copybutton_prompt_text = "$ "  # of console blocks: the command is copied, and not its output
copybutton_only_copy_prompt_lines = True
copybutton_exclude = ".linenos, .gp, .go"

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_default_options = {"members": True}
autodoc_preserve_defaults = True
python_use_unqualified_type_names = True
maximum_signature_line_length = 88
add_module_names = False
toc_object_entries = False  # a fifth of the build; pages have headings

html_theme = "furo"
html_title = "batchwright"
html_static_path = ["_static"]
html_css_files = ["batchwright.css"]
html_copy_source = False
html_show_copyright = False
pygments_style = "a11y-high-contrast-light"
pygments_dark_style = "github-dark"
html_theme_options = {
    "light_css_variables": {
        "color-brand-primary": "#1a5fb4",
        "color-brand-content": "#1a5fb4",
        "color-brand-visited": "#5d3a9b",
    },
    "dark_css_variables": {
        "color-brand-primary": "#8ab8f2",
        "color-brand-content": "#8ab8f2",
        "color-brand-visited": "#c3a6f0",
    },
}
