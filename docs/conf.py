"""The site of the documentation: `sphinx-build -W docs build/site`. A broken link or reference fails the build."""

import posixpath
import re
from importlib import metadata
from pathlib import Path
from typing import Any

project = "compress"
copyright = "the authors of compress, Apache-2.0"
release = metadata.version("compress-cnn")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]

html_theme = "furo"
html_title = "compress"

# Headings can be linked to, as on the pages that show Markdown as it is.
myst_heading_anchors = 3
# In docstrings `word` is code, as it is in Markdown.
default_role = "code"
autodoc_typehints = "description"
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "show-inheritance": True}

# Pages of the repository outside this folder, and the pages of the site that show them.
SHOWN = {
    "reports/comparison.md": "measured/comparison",
    "reports/teaching/comparison.md": "measured/teaching",
    "reports/device/comparison.md": "measured/device",
    "reports/benchmarks/README.md": "measured/benchmarks",
    "baselines/references/README.md": "measured/published",
}
LINK = re.compile(r"\]\(([^):#]+)\)")  # to a file, by its place relative to the page


def _read_from_outside(app: Any, page: str, source: list[str]) -> None:
    """Fill the pages that show one from outside, and let links to these lead to a page of the site."""
    for outside, inside in SHOWN.items():
        if page == inside:
            folder = posixpath.join("../..", posixpath.dirname(outside))
            text = Path(app.srcdir, "..", outside).read_text(encoding="utf-8")
            source[0] = LINK.sub(rf"]({folder}/\1)", text)
    for outside, inside in SHOWN.items():
        link = posixpath.relpath(outside, posixpath.join("docs", posixpath.dirname(page)))
        source[0] = source[0].replace(f"]({link})", f"](/{inside}.md)")


def setup(app: Any) -> None:
    """Called by Sphinx."""
    app.connect("source-read", _read_from_outside)
