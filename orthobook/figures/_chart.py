"""Vega-Lite charts as explorers: the style of the book, titles that follow the controls, series with their key."""

from __future__ import annotations

import json
import sys
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt

from orthobook.figures._controls import literal
from orthobook.figures._live import Explorer
from orthobook.figures.scales import DASHES, GREY, LogAxis, series_style

__all__ = ["AXIS", "WIDTH", "ChartExplorer", "colours", "lines", "log_axis", "series", "title", "vegalite_version"]

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
        from orthobook.figures import _png  # with what only the book's build needs

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


def title(*lines: str, **options: Any) -> alt.TitleParams:
    """Return a title whose lines are expressions of the controls' values."""
    return alt.TitleParams(alt.ExprRef("[" + ", ".join(lines) + "]"), **options)


def colours(names: list[str]) -> alt.Scale:
    """Return the colours of series, in order."""
    return alt.Scale(domain=names, range=[series_style(i)[0] for i in range(len(names))])


def series(names: list[str], label: str, dashed: Collection[str] = ()) -> dict[str, Any]:
    """Return the encodings that tell series apart, with a legend whose labels are the expression ``label``."""
    if not set(dashed) <= set(names):
        raise ValueError(f"dashed: expected some of {names}, got {list(dashed)}")
    legend = alt.Legend(labelExpr=label)
    dashes = [list(DASHES[1] if name in dashed else series_style(i)[1]) for i, name in enumerate(names)]
    encodings: dict[str, Any] = {"color": alt.Color("name:N", scale=colours(names), sort=names, legend=legend)}
    if any(dashes):
        patterns = alt.Scale(domain=names, range=[d or [1, 0] for d in dashes])
        encodings["strokeDash"] = alt.StrokeDash("name:N", scale=patterns, sort=names, legend=legend)
    return encodings


def lines(rows: list[dict[str, Any]], fields: list[Any], where: str, heading: alt.TitleParams) -> alt.Chart:
    """Return a chart of the rows that the condition picks, their lists flattened; a mark is still to be chosen."""
    return (
        alt.Chart(alt.InlineData(rows), width=WIDTH - AXIS, height=240, title=heading)
        .transform_filter(where)
        .transform_flatten(fields)
    )


def log_axis(axis: LogAxis, title: str | None = None, ends: Sequence[float] = ()) -> dict[str, Any]:
    """Return the scale and the axis of an encoding that is drawn on exponents, between other ends if they are given."""
    labels = axis.ticks()
    return {
        "scale": alt.Scale(domain=[*map(float, ends)] or [axis.low, axis.high], nice=False, zero=False),
        "axis": alt.Axis(values=[*labels], labelExpr=f"({literal(labels)})[datum.value]", title=title),
    }
