"""The documentation as a site: ``make docs`` builds it without a network."""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE / "_ext"), str(HERE.parent / "tools")]

from epsball import __version__  # noqa: E402

project = "epsball"
author = "The epsball maintainers"
version = release = __version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "mathml",
    "accessible",
    "measured",
    "notebooks",
    "formulas",
    "chapter_items",
    "last_run",
    "plain_copies",
]
exclude_patterns = ["_ext", "README.md", "evidence"]
myst_enable_extensions = ["dollarmath", "deflist"]
myst_heading_anchors = 3

default_role = "literal"
autosummary_generate = True
autosummary_ignore_module_all = False
autodoc_typehints = "none"
autodoc_member_order = "bysource"
napoleon_use_rtype = False
napoleon_preprocess_types = False
napoleon_attr_annotations = False

html_math_renderer = "mathml"
html_theme = "furo"
html_title = f"epsball {release}"
templates_path = ["_templates"]
html_static_path = ["_static"]
html_css_files = ["epsball.css"]
html_theme_options = {"footer_icons": [], "source_view_link": ""}
html_copy_source = False
html_show_sphinx = False
html_show_copyright = False
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True


def escape_shapes(app, what, name, obj, options, lines):
    """Keep the star of (n, *shape), which reStructuredText takes for emphasis."""
    for number, line in enumerate(lines):
        parts = line.split("``")  # every other one stands between double backquotes
        parts[::2] = [part.replace("*shape", "\\*shape") for part in parts[::2]]
        lines[number] = "``".join(parts)


def setup(app):
    """Register what docstrings need."""
    app.connect("autodoc-process-docstring", escape_shapes, priority=400)
