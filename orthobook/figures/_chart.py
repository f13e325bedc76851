"""A Vega-Lite chart as an explorer, in the style of the book."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from typing import Any

import altair as alt

from orthobook.figures import _png
from orthobook.figures._base import Explorer
from orthobook.figures.stills import GREY

__all__ = ["AXIS", "WIDTH", "ChartExplorer", "vegalite_version"]

WIDTH = 560  # pixels; the book's own script fits a chart to its column, JupyterLab and Colab show this width
AXIS = 44  # pixels kept for labels left of a plot, whatever they say, so that nothing moves when they change
FONT = "-apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"


@dataclass(frozen=True)
class ChartExplorer(Explorer):
    """A Vega-Lite chart.

    Attributes
    ----------
    chart
        The Altair chart.
    description
        What it shows, in words: its accessible name.
    """

    kind = "vega"
    chart: alt.TopLevelMixin
    description: str

    def specification(self, ink: str = GREY) -> dict[str, Any]:
        """Return the chart as a Vega-Lite specification, text and axes in the colour ``ink``."""
        specification = self.chart.to_dict()
        specification["description"] = self.description
        specification["usermeta"] = {"embedOptions": {"actions": False, "renderer": "svg", "tooltip": False}}
        specification["config"] = _config(ink)
        return specification

    def still(self, kind: str, ink: str = GREY) -> Any:
        specification = self.specification(ink)
        if kind == "png":  # where no page has a font of its own
            specification["config"]["font"] = _png.FONT
        svg = _png.converter().vegalite_to_svg(json.dumps(specification), vl_version=vegalite_version())
        return _png.png(svg, scale=1.5) if kind == "png" else svg

    def live(self) -> Any:
        if "google.colab" in sys.modules:
            with alt.renderers.enable("colab"):
                return alt.Chart.from_dict(self.specification())._repr_mimebundle_()
        # JupyterLab draws this type itself; text/html beside it would be preferred and would fetch scripts.
        specification = self.specification() | {"$schema": "https://vega.github.io/schema/vega-lite/v5.json"}
        return {"application/vnd.vegalite.v5+json": specification, "text/plain": self.description}

    def _room(self, still: str) -> str:
        bindings = [p.get("bind", {}).get("input") for p in self.specification()["params"]]
        rows = sum(kind not in (None, "checkbox") for kind in bindings) + ("checkbox" in bindings)
        drawing = round(float(still.split(' height="', 1)[1].split('"', 1)[0]))
        return f"min-height:{drawing + 8 + 40 * rows}px"


def vegalite_version() -> str:
    """Return the Vega-Lite version whose specifications the installed Altair writes, such as ``6.4``."""
    return ".".join(alt.SCHEMA_VERSION.removeprefix("v").split(".")[:2])


def _config(ink: str) -> dict[str, Any]:
    quiet = {"domainColor": ink, "tickColor": ink, "gridColor": ink, "labelColor": ink, "titleColor": ink}
    return {
        "background": "transparent",
        "font": FONT,
        "aria": False,  # the description speaks for the chart, not one label for each bar
        "mark": {"aria": False},
        "view": {"stroke": None},
        "text": {"color": ink, "fontSize": 12},
        "axis": quiet | {"gridOpacity": 0.18, "labelFontSize": 12, "titleFontSize": 12, "titleFontWeight": "normal"},
        "axisX": {"tickCount": 6},
        "axisY": {"minExtent": AXIS, "maxExtent": AXIS, "tickCount": 4},
        "legend": {
            "labelColor": ink,
            "titleColor": ink,
            "labelFontSize": 12,
            "labelLimit": 320,
            "orient": "top",
            "direction": "vertical",
            "columns": 1,
            "title": None,
            "symbolType": "stroke",
            "symbolStrokeWidth": 3,
            "symbolOpacity": 1,
            "offset": 8,
        },
        "title": {
            "anchor": "start",
            "frame": "bounds",
            "color": ink,
            "fontSize": 12,
            "fontWeight": "normal",
            "lineHeight": 16,
            "offset": 8,
        },
        "concat": {"spacing": 18},
    }
