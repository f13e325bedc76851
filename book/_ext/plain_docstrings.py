"""Show docstrings as written: plain text with formulas in Unicode, which reStructuredText would misread.

|t + τ| − τ        would be a substitution named "t + τ"
an indented block  would be a quotation, its alignment lost
"""

from __future__ import annotations

import re
from typing import Any

from sphinx.application import Sphinx

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


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the extension with Sphinx."""
    app.connect("autodoc-process-docstring", process, priority=400)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
