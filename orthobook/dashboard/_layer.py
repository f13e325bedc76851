"""The dashboard of one layer: type A, B, C and the slopes, and read what the theorem says of x ↦ Ax + Bσ(Cx + b)."""

from __future__ import annotations

import html
import itertools
from collections.abc import Mapping

import ipywidgets as widgets
import torch
from jaxtyping import Float
from torch import Tensor

from orthobook.dashboard import _svg
from orthobook.dashboard._base import Dashboard, columns, complaint, control, prose
from orthobook.dashboard._entries import matrix, numbers
from orthobook.figures import COLOURS, magnitude, plain_number
from orthobook.framework import FAILURES, Factors, NotOrthogonal, Undecided, factorise

__all__ = ["EXAMPLES", "LayerDashboard", "layer"]

# name → A, B, C and the slopes, as a reader would type them; below those that are orthogonal one for each failure
EXAMPLES: Mapping[str, tuple[str, str, str, str]] = {
    "modified residual layer": ("1 0\n0 1", "-1.2\n-1.6", "0.6 0.8", "1 0"),
    "absolute value": ("0 0\n0 0", "0.6 -0.8\n0.8 0.6", "1 0\n0 1", "1 -1"),
    "leaky ReLU with its skip": ("3 0\n0 3", "-4 0\n0 -4", "1 0\n0 1", "1 1/2"),
    "partial fold, turned": (
        "0 0 0\n1/2 -1/2 sqrt(1/2)\n1/2 -1/2 -sqrt(1/2)",
        "1\n0\n0",
        "sqrt(1/2) sqrt(1/2) 0",
        "1 -1",
    ),
    "fails slopes: a third one": ("0 0\n0 0", "1 0\n0 1", "1 0\n0 1", "1 -1 1/2"),
    "fails pairs: columns of B at an angle": ("1 0\n0 1", "-2 -1.2\n0 -1.6", "1 0\n0.6 0.8", "1 0"),
    "fails linear: a residual block, factor 1": ("1 0\n0 1", "-0.6\n-0.8", "0.6 0.8", "1 0"),
    "fails frame: rows of C at an angle": ("0 0\n0 0", "1 0\n0 1", "1 0\n0.6 0.8", "1 -1"),
    "fails kernel: A sees a row of C": ("0 0\n1 0", "1\n0", "1 0", "1 -1"),
    "fails remainder: the rest shrinks": ("0 0\n0 0.9", "1\n0", "1 0", "1 -1"),
    "undecided: concatenated ReLU": ("0 0\n0 0", "1 0 -1 0\n0 1 0 -1", "1 0\n0 1\n-1 0\n0 -1", "1 0"),
}

MEANINGS = {
    "slopes": "σ has no third slope",
    "pairs": "uᵢᵀuⱼ = 0 for i ≠ j",
    "linear": "Mᵀuᵢ = 0",
    "frame": "VᵀV = I",
    "kernel": "Mvᵢ = 0",
    "remainder": "RᵀR = I",
}
LETTERS = (
    "c = (s₁ + s₂)/2, r = (s₁ − s₂)/2, M = A + cBC, Λ = diag ‖rbᵢ‖, U = rBΛ⁻¹, V = CᵀΛ, "
    "R = U<sub>⊥</sub>ᵀ M V<sub>⊥</sub>"
)
PATTERNS = 4096  # of slopes, at most, for the picture


def layer() -> LayerDashboard:
    """Return the dashboard that judges one layer x ↦ Ax + Bσ(Cx + b) by :func:`orthobook.factorise`, in float64.

    A line is a row of a matrix, its entries are apart by spaces or commas, and an entry may be an expression such as
    ``1/sqrt(2)`` or ``cos(pi/5)``. The picture shows the singular values of A + BDC for every choice of slopes on the
    diagonal of D.
    """
    return LayerDashboard()


class LayerDashboard(Dashboard):
    """See :func:`layer`.

    Attributes
    ----------
    verdict : Factors, NotOrthogonal, Undecided or ValueError
        What ``factorise`` returned or raised, or why the text could not be read.
    """

    chapter = "one-layer"
    description = "Type the matrices and slopes of a layer, and read which condition of the theorem holds or fails."

    def __init__(self) -> None:
        self._judge(*next(iter(EXAMPLES.values())))

    def _judge(self, A: str, B: str, C: str, slopes: str) -> None:
        self.typed = {"A": A, "B": B, "C": C, "slopes": slopes}
        self.spectrum: Tensor | None = None
        self.verdict: Factors | Exception
        try:
            linear, values = matrix("A", A), numbers("slopes", slopes)
            outer, inner = matrix("B", B, empty=(len(linear), 0)), matrix("C", C, empty=(0, len(linear)))
            self.spectrum = spectrum_of_patterns(linear, outer, inner, values)
            self.verdict = factorise(linear, outer, inner, values)
        except (ValueError, NotOrthogonal, Undecided) as error:
            self.verdict = error

    def panels(self) -> list[str]:
        """Return the singular values over all patterns of slopes, where they can be computed."""
        if self.spectrum is None:
            return []
        title = "share of the singular values of A + BDC, every pattern of slopes"
        return [_svg.histograms(title, [(COLOURS[0], self.spectrum.numpy())])]

    def words(self) -> str:
        """Return the verdict, the conditions and the normal form as HTML."""
        verdict = self.verdict
        if isinstance(verdict, Factors):
            held = conditions(len(FAILURES))
            return f"<p><b>The Jacobian is orthogonal</b> wherever it exists.</p>{held}{normal_form(verdict)}"
        if isinstance(verdict, NotOrthogonal):
            where = f" at {_units(verdict.units)}" if verdict.units else ""
            error = f"by {magnitude(verdict.error)}{where}; rounding explains {magnitude(verdict.tolerance)}"
            reason = html.escape(FAILURES[verdict.condition])
            held = conditions(list(FAILURES).index(verdict.condition), error)
            return f"<p><b>The Jacobian is not orthogonal:</b> {reason}.</p>{held}"
        if isinstance(verdict, Undecided):
            return (
                f"<p><b>The theorem does not decide:</b> {html.escape(str(verdict))}.</p>"
                "<p>The picture counts patterns too that never occur.</p>"
            )
        return complaint(verdict)

    def page(self) -> str:
        typed = "".join(
            f'<div><b>{name}</b><pre style="margin:0">{html.escape(text)}</pre></div>'
            for name, text in self.typed.items()
        )
        return f'<div style="display:flex;flex-wrap:wrap;gap:8px 32px">{typed}</div>{super().page()}'

    def _widget(self) -> widgets.Widget:
        self.example = control(widgets.Dropdown, "example", options=tuple(EXAMPLES))
        self.fields = {name: _field(name, text) for name, text in self.typed.items()}
        labels = {"A": "A: n rows of n", "B": "B: n rows of m", "C": "C: m rows of n", "slopes": "slopes of σ"}
        boxes = [widgets.VBox([widgets.Label(labels[name]), field]) for name, field in self.fields.items()]
        self.output, self.picture = widgets.HTML(), widgets.HTML()
        self._loading = False
        self.example.observe(lambda _: self._load(), "value")
        for field in self.fields.values():
            field.observe(lambda _: self._update(), "value")
        self._show()
        rows = [self.example, columns(boxes, 190), columns([self.output, self.picture], 340)]
        return widgets.VBox(rows, layout=widgets.Layout(max_width="960px"))

    def _load(self) -> None:
        """Put the chosen example into the fields."""
        self._loading = True  # judge once, not after each field
        for field, text in zip(self.fields.values(), EXAMPLES[self.example.value], strict=True):
            field.value = text
        self._loading = False
        self._update()

    def _update(self) -> None:
        if not self._loading:
            self._judge(*(field.value for field in self.fields.values()))
            self._show()

    def _show(self) -> None:
        self.output.value, self.picture.value = prose(self.words()), _svg.grid(self.panels())


def _field(name: str, text: str) -> widgets.Widget:
    if name == "slopes":
        return widgets.Text(value=text, layout=widgets.Layout(width="auto"))
    return widgets.Textarea(value=text, layout=widgets.Layout(width="auto", height="7em"))


def spectrum_of_patterns(
    A: Float[Tensor, "n n"], B: Float[Tensor, "n m"], C: Float[Tensor, "m n"], slopes: tuple[float, ...]
) -> Float[Tensor, "patterns n"] | None:
    """Return the singular values of A + BDC for every D; None if there are none, or too many."""
    n, m = len(A), len(C)
    if 0 in (n, len(slopes)) or (A.shape, B.shape, C.shape) != ((n, n), (n, m), (m, n)) or len(slopes) ** m > PATTERNS:
        return None
    patterns = list(itertools.product(slopes, repeat=m))  # one, the empty one, if no unit folds
    D = torch.tensor(patterns, dtype=A.dtype).reshape(len(patterns), 1, m)
    J = A + (B * D) @ C
    return torch.linalg.svdvals(J) if J.isfinite().all() else None


def _units(units: tuple[int, ...]) -> str:
    """Return units in words, counted as the package counts them."""
    return ("unit " if len(units) == 1 else "units ") + ", ".join(map(str, units)) + " (counted from 0)"


def conditions(failed: int, error: str = "") -> str:
    """Return the six conditions as a table: those before number ``failed`` hold, those after it were not reached."""
    rows = []
    for index, (name, meaning) in enumerate(MEANINGS.items()):
        mark, said = ("✓", "holds") if index < failed else ("–", "not reached")
        if index == failed:
            mark, said = "✗", f"<b>fails</b> {error}"
        style = "padding:1px 12px 1px 0;text-align:left"
        cells = "".join(f'<td style="{style};white-space:nowrap">{c}</td>' for c in (mark, name, meaning))
        rows.append(f'<tr>{cells}<td style="{style}">{said}</td></tr>')
    return f"<table>{''.join(rows)}</table><p>Here {LETTERS}</p>"


def normal_form(factors: Factors) -> str:
    """Return the factors of a layer as HTML."""
    parts = {"U": factors.U, "V": factors.V, "R": factors.R, "diagonal of Λ": factors.scale.unsqueeze(0)}
    shown = "".join(f"<span>{name} = {_brackets(part)}</span>" for name, part in parts.items() if part.numel())
    return (
        "<p>Normal form: J = U diag(±1) Vᵀ + U<sub>⊥</sub> R V<sub>⊥</sub>ᵀ, with C = Λ⁻¹Vᵀ and B = U Λ / r</p>"
        f'<div style="display:flex;flex-wrap:wrap;gap:8px 24px;align-items:center">{shown}</div>'
    )


def _brackets(part: Float[Tensor, "rows columns"]) -> str:
    """Return a matrix as HTML, to three digits."""
    cells = "".join(f"<span>{plain_number(round(entry, 3) + 0.0)}</span>" for entry in part.flatten().tolist())
    style = (
        f"display:inline-grid;grid-template-columns:repeat({part.shape[1]},auto);gap:0 10px;text-align:right;"
        "vertical-align:middle;border:solid;border-width:0 1px;padding:0 6px"
    )
    return f'<span style="{style}">{cells}</span>'
