"""Show docstrings as written: plain text with formulas in Unicode, which reStructuredText would misread.

|t + τ| − τ        would be a substitution named "t + τ"
an indented block  would be a quotation, its alignment lost

And let a reference to a name at the package's top level find it in the module that defines it.
"""

from __future__ import annotations

import re
from typing import Any

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

import orthobook

# Code in backquotes stays as it is; a bar anywhere else is an absolute value.
CODE_OR_BAR = re.compile(r"(``.*?``|`[^`]*`)|\|")


def escape_bars(line: str) -> str:
    """Escape the bars of absolute values outside code."""
    return CODE_OR_BAR.sub(lambda match: match[1] or r"\|", line)


def display_indented(lines: list[str]) -> list[str]:
    """Turn every indented block that follows a blank line and top-level text into a literal block."""
    shown: list[str] = []
    literal = False
    for line in lines:
        indented = line.startswith("    ")
        if indented and not literal and shown and not shown[-1]:
            shown += [".. code-block:: text", ""]
            literal = True
        elif line and not indented:
            literal = False
        shown.append(line if literal else escape_bars(line))
    return shown


def process(app: Sphinx, what: str, name: str, subject: Any, options: Any, lines: list[str]) -> None:
    """Adapt a docstring in place, before napoleon reads its sections."""
    # Only modules display formulas; elsewhere an indented block belongs to the entry of a section.
    lines[:] = display_indented(lines) if what == "module" else [escape_bars(line) for line in lines]


def find_top_level(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, content: nodes.Element
) -> nodes.Element | None:
    """Resolve a reference such as ``orthobook.build``, which is documented as ``orthobook.networks.build``."""
    package, _, name = node.get("reftarget", "").rpartition(".")
    if node.get("refdomain") != "py" or package != "orthobook" or name not in orthobook.__all__:
        return None
    target = f"{getattr(orthobook, name).__module__}.{name}"
    python = env.get_domain("py")
    return python.resolve_xref(env, node["refdoc"], app.builder, node["reftype"], target, node, content)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the extension with Sphinx."""
    app.connect("autodoc-process-docstring", process, priority=400)
    app.connect("missing-reference", find_top_level)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
