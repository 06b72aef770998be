"""Settings of the documentation site: `sphinx-build -W docs build/site`. A broken link or reference fails the build."""

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

# Headings are link targets, as where Markdown is shown without Sphinx.
myst_heading_anchors = 3
# In docstrings, `word` is code, as in Markdown.
default_role = "code"
autodoc_typehints = "description"
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "show-inheritance": True}

# Page of the repository outside this folder -> page of the site that shows it.
SHOWN = {
    "reports/comparison.md": "measured/comparison",
    "reports/teaching/comparison.md": "measured/teaching",
    "reports/device/comparison.md": "measured/device",
    "reports/benchmarks/README.md": "measured/benchmarks",
    "baselines/references/README.md": "measured/published",
}
LINK = re.compile(r"\]\(([^):#]+)\)")  # a link to a file, relative to the page


def _read_from_outside(app: Any, page: str, source: list[str]) -> None:
    """Fill the pages that show a page from outside, and make links to such pages lead to pages of the site."""
    for outside, inside in SHOWN.items():
        if page == inside:
            folder = posixpath.join("../..", posixpath.dirname(outside))
            text = Path(app.srcdir, "..", outside).read_text(encoding="utf-8")
            source[0] = LINK.sub(rf"]({folder}/\1)", text)
    for outside, inside in SHOWN.items():
        link = posixpath.relpath(outside, posixpath.join("docs", posixpath.dirname(page)))
        source[0] = source[0].replace(f"]({link})", f"](/{inside}.md)")


def setup(app: Any) -> None:
    """Register the hook; Sphinx calls this function."""
    app.connect("source-read", _read_from_outside)
