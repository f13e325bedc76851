"""The dashboard of one layer: type A, B, C and the slopes, and read what the theorem says of x ↦ Ax + Bσ(Cx + b)."""

from __future__ import annotations

import html
import itertools
from collections.abc import Mapping

import ipywidgets as widgets
import torch
from jaxtyping import Float
from torch import Tensor

from orthobook.figures.scales import COLOURS, magnitude, plain_number
from orthobook.framework import FAILURES, Factors, NotOrthogonal, Undecided, factorise
from orthobook.teaching.dashboard import _svg
from orthobook.teaching.dashboard._base import Dashboard, columns, complaint, control, prose
from orthobook.teaching.dashboard._entries import comma, matrix, numbers

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
LABELS = {"A": "A: n rows of n", "B": "B: n rows of m", "C": "C: m rows of n", "slopes": "slopes of σ"}
PATTERNS = 4096  # of slopes, at most, for the picture
OWN = "your own"  # in the list of examples, when the fields hold none of them
SAMPLED = "ob.is_orthogonal(lambda x: x @ A.T + torch.relu(x @ C.T) @ B.T, torch.randn(100, len(A)))"


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
            check(linear, outer, inner, values, hint=comma(" ".join(self.typed.values())))
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
            # a third slope is no matter of rounding
            rounding = f"; rounding alone makes at most {magnitude(verdict.tolerance)}" if verdict.tolerance else ""
            error = f"by {magnitude(verdict.error)}{where}{rounding}"
            reason = html.escape(FAILURES[verdict.condition])
            held = conditions(list(FAILURES).index(verdict.condition), error)
            return f"<p><b>The Jacobian is not orthogonal:</b> {reason}.</p>{held}"
        if isinstance(verdict, Undecided):
            return (
                f"<p><b>The theorem does not decide:</b> C has {verdict.units} rows but rank {verdict.rank}, so some "
                "patterns of slopes never occur. The picture counts them too.</p>"
                "<p>To check the layer at random inputs, here with ReLU for σ, make tensors of A, B and C in a cell of "
                f'your own:</p><pre style="white-space:pre-wrap">{html.escape(SAMPLED)}</pre>'
            )
        return complaint(verdict)

    def page(self) -> str:
        typed = "".join(
            f'<div><b>{name}</b><pre style="margin:0">{html.escape(text)}</pre></div>'
            for name, text in self.typed.items()
        )
        return f'<div style="display:flex;flex-wrap:wrap;gap:8px 32px">{typed}</div>{super().page()}'

    def _widget(self) -> widgets.Widget:
        self.example = control(widgets.Dropdown, "example", options=(*EXAMPLES, OWN))
        self.fields = {name: _field(name, text) for name, text in self.typed.items()}
        typed = columns([*self.fields.values()], 190)
        typed.layout.align_items = "flex-start"  # or the line of the slopes would be as high as a matrix
        self.output, self.picture = widgets.HTML(), widgets.HTML()
        self._loading = False
        self.example.observe(lambda _: self._load(), "value")
        for field in self.fields.values():
            field.observe(lambda _: self._update(), "value")
        self._show()
        rows = [self.example, typed, columns([self.output, self.picture], 340)]
        return widgets.VBox(rows, layout=widgets.Layout(max_width="960px"))

    def _load(self) -> None:
        """Put the chosen example into the fields."""
        if self._loading or self.example.value == OWN:
            return
        self._loading = True  # judge once, not after each field
        for field, text in zip(self.fields.values(), EXAMPLES[self.example.value], strict=True):
            field.value = text
        self._loading = False
        self._update()

    def _update(self) -> None:
        if not self._loading:
            typed = tuple(field.value for field in self.fields.values())
            self._judge(*typed)
            self._show()
            self._loading = True
            self.example.value = next((name for name, texts in EXAMPLES.items() if texts == typed), OWN)
            self._loading = False

    def _show(self) -> None:
        self.output.value, self.picture.value = prose(self.words()), _svg.grid(self.panels())


def _field(name: str, text: str) -> widgets.Widget:
    """Return a field with its label above it: the field's own, so that it has a name for those who do not see it."""
    kind, height = (widgets.Text, "auto") if name == "slopes" else (widgets.Textarea, "9em")
    layout = widgets.Layout(width="auto", height=height, flex_flow="column", align_items="stretch")
    return kind(value=text, description=LABELS[name], style={"description_width": "max-content"}, layout=layout)


def check(
    A: Float[Tensor, "rows columns"],
    B: Float[Tensor, "rows columns"],
    C: Float[Tensor, "rows columns"],
    slopes: tuple[float, ...],
    *,
    hint: str = "",
) -> None:
    """Raise a ValueError that names the first thing that does not fit; the hint is for too many or too few entries."""
    n, m = len(A), B.shape[1]
    if n == 0:
        raise ValueError("A is empty; it must be square, with at least one row")
    shapes = {
        f"A must be square: it has {_count(n, 'row')} but {_count(A.shape[1], 'column')}": A.shape[1] == n,
        f"B must have as many rows as A, {n}, but has {len(B)}": len(B) == n,
        f"C must have as many columns as A, {n}, but has {C.shape[1]}": C.shape[1] == n,
        f"C must have as many rows as B has columns, {m}, but has {len(C)}": len(C) == m,
    }
    for fault, fits in shapes.items():
        if not fits:
            raise ValueError(fault + hint)
    if len(set(slopes)) < max(2, len(slopes)):
        found = ", ".join(map(plain_number, slopes)) or "none"
        raise ValueError(f"slopes must be at least two numbers, all different, such as 1 0; got {found}{hint}")
    for unit in range(m):
        if not (B[:, unit].any() and C[unit].any()):
            zero = f"row {unit + 1} of C" if B[:, unit].any() else f"column {unit + 1} of B"
            raise ValueError(
                f"{zero} is zero, so unit {unit + 1} contributes nothing: leave out column {unit + 1} of B and row "
                f"{unit + 1} of C"
            )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


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
    """Return units in words, counted from 1 as rows and columns are; the package counts them from 0."""
    places = " and ".join(str(unit + 1) for unit in units) if len(units) < 3 else f"1 to {len(units)}"
    plural = "" if len(units) == 1 else "s"
    return f"unit{plural} {places} (column{plural} of B, row{plural} of C)"


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
