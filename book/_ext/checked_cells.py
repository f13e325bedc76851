"""Take the instruction to nbval off the cells whose output the tests compare: it says nothing to a reader."""

from __future__ import annotations

from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms.post_transforms import SphinxPostTransform

MARK = "# NBVAL_CHECK_OUTPUT\n"


class Unmark(SphinxPostTransform):
    """Remove the first line of every such cell."""

    default_priority = 900

    def run(self, **kwargs: Any) -> None:
        """Change the document in place."""
        for block in self.document.findall(nodes.literal_block):
            if block.rawsource.startswith(MARK):
                # Sphinx highlights a block only where its text is its source.
                block.rawsource = block.rawsource.removeprefix(MARK)
                block.clear()
                block += nodes.Text(block.rawsource)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the extension with Sphinx."""
    app.add_post_transform(Unmark)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
