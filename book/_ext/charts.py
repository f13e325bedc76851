"""Draw the book's interactive figures without a network.

Vega, Vega-Lite and Vega-Embed come as one script from the installed wheel of vl-convert, the folded sheet's script from
the package. They and the book's own few lines lie beside the pages, and a page loads only those that its figures need.
While the notebooks run, an environment variable tells orthobook.figures that its figures are for such a page.
"""

from __future__ import annotations

import os
import shutil
from importlib.metadata import version
from pathlib import Path
from typing import Any

import vl_convert
from docutils import nodes
from sphinx.application import Sphinx

import assets
from orthobook.figures._chart import vegalite_version

BOOK, PACKAGE = Path(__file__).parents[1] / "_charts", Path(__file__).parents[2] / "orthobook" / "figures"
IN_BOOK = "vendor/charts"  # below _static; the theme loads nothing from there by itself
SCRIPTS = {"vega": ("vega.js", "charts.js"), "folding": ("folding.js",)}  # by kind of figure, in the order of loading


def bundle(cache: Path) -> Path:
    """Return the script that defines ``orthobookEmbed``, made anew only for other versions of its parts."""
    vegalite = vegalite_version()
    script = cache / f"vega-{vegalite}-vl-convert-{version('vl-convert-python')}.js"
    if not script.exists():
        code = vl_convert.javascript_bundle("window.orthobookEmbed = vegaEmbed;", vl_version=vegalite)
        # A function of its own keeps the bundle's thousand names to itself, and hides any module loader from it.
        wrapped = f"(function (define, module, exports) {{{code}\n}})();\n"
        cache.mkdir(parents=True, exist_ok=True)
        script.write_text(wrapped, encoding="utf-8")
    return script


def copy_scripts(app: Sphinx) -> None:
    """Put the scripts, their style and their licences beside the pages."""
    if app.builder.format != "html":
        return
    target = Path(app.outdir) / "_static" / IN_BOOK
    assets.copy(BOOK, target, ("charts.js", "licences.txt"))
    assets.copy(PACKAGE, target, ("charts.css", "folding.js"))
    shutil.copyfile(bundle(Path(app.doctreedir).parent / "charts"), target / "vega.js")


def load_scripts(
    app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: nodes.document | None
) -> None:
    """Load the style and the scripts of each kind of figure that a page holds."""
    for kind, scripts in SCRIPTS.items():
        # A listing of the package's source has this too, but with &lt;
        if f'<div class="orthobook-chart" data-kind="{kind}"' in context.get("body", ""):
            app.add_css_file(f"{IN_BOOK}/charts.css")
            for script in scripts:
                app.add_js_file(f"{IN_BOOK}/{script}", loading_method="defer")


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the extension with Sphinx; kernels started from here on inherit the variable."""
    os.environ["ORTHOBOOK_BUILD"] = "1"
    app.connect("builder-inited", copy_scripts)
    app.connect("html-page-context", load_scripts)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
