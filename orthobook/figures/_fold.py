"""An activation with one kink, and the fold that it always comes to."""

from __future__ import annotations

from typing import Any

import altair as alt

from orthobook.figures._base import Explorer
from orthobook.figures._chart import AXIS, WIDTH, ChartExplorer
from orthobook.figures._parts import title
from orthobook.figures.stills import COLOURS, GREY

__all__ = ["fold_explorer"]


def fold_explorer(*, description: str = "") -> Explorer:
    """Return two sliders for the slopes of an activation with one kink, and the fold that it always comes to.

    The left panel draws σ with slope s₁ for t > 0 and s₂ for t < 0, and the line of its mean slope c = (s₁ + s₂)/2;
    the right one draws φ(t) = (σ(t) − c t)/r, r = (s₁ − s₂)/2, which is |t| for every two slopes that differ.

    Parameters
    ----------
    description
        What the figure shows, in place of a general sentence.
    """
    first = alt.param(value=1, bind=alt.binding_range(min=-1.5, max=1.5, step=0.1, name="Slope s₁ (t > 0)"))
    second = alt.param(value=0, bind=alt.binding_range(min=-1.5, max=1.5, step=0.1, name="Slope s₂ (t < 0)"))
    s1, s2 = first.name, second.name
    mean, half = f"(({s1} + {s2}) / 2)", f"(({s1} - {s2}) / 2)"
    linear = f"abs({s1} - {s2}) < 0.05"
    names = (
        f"{linear} ? 'linear' : {s2} == 0 && {s1} == 1 ? 'ReLU' : {s2} == -1 && {s1} == 1 ? 'absolute value' : "
        f"{s1} == 1 && {s2} > 0 && {s2} < 1 ? 'leaky ReLU' : 'two slopes'"
    )
    base = (
        alt.Chart(alt.InlineData([{"t": t} for t in (-2, 0, 2)]), width=(WIDTH - 2 * AXIS) // 2, height=240)
        .transform_calculate(sigma=f"datum.t * (datum.t > 0 ? {s1} : {s2})", mean=f"{mean} * datum.t")
        .transform_calculate(fold=f"{linear} ? null : (datum.sigma - datum.mean) / {half}")
    )
    x = alt.X("t:Q", scale=alt.Scale(domain=[-2, 2]), axis=alt.Axis(title="t", values=[-2, -1, 0, 1, 2], format="d"))
    vertical: Any = {"scale": alt.Scale(domain=[-3, 3]), "axis": alt.Axis(title=None, values=[-2, 0, 2])}
    dashed = base.mark_line(strokeDash=[5, 4], color=GREY).encode(x=x, y=alt.Y("mean:Q", **vertical))
    kinked = base.mark_line(color=COLOURS[0], strokeWidth=3).encode(x=x, y=alt.Y("sigma:Q", **vertical))
    folded = base.mark_line(color=COLOURS[1], strokeWidth=3).encode(x=x, y=alt.Y("fold:Q", **vertical))
    left = alt.layer(
        dashed, kinked, title=title(f"'σ(t): ' + ({names})", f"'dashed: c t, c = ' + format({mean}, '.2f')")
    )
    right = folded.properties(
        title=title(
            f"{linear} ? 'no fold: s₁ = s₂' : 'φ(t) = |t|'",
            f"{linear} ? 'r = 0: σ is its own mean' : '(σ(t) − c t)/r, r = ' + format({half}, '.2f')",
        )
    )
    return ChartExplorer(
        alt.hconcat(left, right).add_params(first, second),
        description
        or "Left, an activation with two slopes and the line of their mean; right, what is left of it after that line "
        "is subtracted and the rest divided by half the slopes' difference: the absolute value, whatever the slopes. "
        "Two controls set the slopes; equal slopes leave no fold.",
    )
