"""Keep a formula and the punctuation after it on one line.

To a browser a formula is a box, after which it may break the line even before a full stop.
"""

from __future__ import annotations

import re
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms.post_transforms import SphinxPostTransform

PUNCTUATION = re.compile(r"[.,;:!?)\]’”]+")


class KeepTogether(SphinxPostTransform):
    """Wrap every formula within a line, and the punctuation that follows it, into an element that does not break."""

    default_priority = 900
    formats = ("html",)

    def run(self, **kwargs: Any) -> None:
        """Change the document in place."""
        for formula in list(self.document.findall(nodes.math)):
            after = formula.next_node(descend=False, siblings=True)
            mark = PUNCTUATION.match(after) if isinstance(after, nodes.Text) else None
            if mark is None:
                continue
            together = nodes.inline("", "", classes=["together"])
            formula.replace_self(together)
            together += [formula, nodes.Text(mark[0])]
            after.parent.replace(after, nodes.Text(after[mark.end() :]))


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the extension with Sphinx."""
    app.add_post_transform(KeepTogether)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
