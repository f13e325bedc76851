"""The dashboard of spectra: sliders for a network, and the exact singular values of its Jacobian at once."""

from __future__ import annotations

import ipywidgets as widgets

from orthobook.blocks import architectures
from orthobook.dashboard import _svg
from orthobook.dashboard._base import Choice, Dashboard, NetworkControls, complaint, control, load_once, wrap
from orthobook.figures import COLOURS, magnitude
from orthobook.jacobian import singular_values

__all__ = ["SpectrumDashboard", "spectrum"]

IMAGES = 4  # whose Jacobians are looked at
DEEPEST = 300  # of the slider


def spectrum() -> SpectrumDashboard:
    """Return the dashboard that shows the singular values of untrained networks while sliders move.

    They are those of the trunk's Jacobian at four images of Fashion-MNIST, as :func:`orthobook.singular_values` computes
    them on the CPU.
    """
    return SpectrumDashboard()


class SpectrumDashboard(Dashboard):
    """See :func:`spectrum`.

    Attributes
    ----------
    choice : Choice
        The network that is shown.
    values : Tensor
        Its singular values, (images, n).
    """

    chapter = "singular-values"
    description = "Choose a network, and see the exact singular values of its Jacobian change with every slider."

    def __init__(self) -> None:
        self._compute(Choice(depth=50))

    def _compute(self, choice: Choice) -> None:
        data = load_once(choice.data)
        self.choice, self.values = choice, singular_values(choice.build(data), data.test.images[:IMAGES])

    def panels(self) -> list[str]:
        """Return the histogram of the singular values."""
        title = f"share of {self.values.numel()} singular values, at {IMAGES} images"
        finite = self.values[self.values.isfinite()]
        return [_svg.histograms(title, [(COLOURS[0], finite.numpy())] if len(finite) else [])]

    def summary(self) -> str:
        """Return the ends of the spectrum in words, as HTML."""
        if not self.values.isfinite().all():
            return "<div>The Jacobian has grown beyond all floating-point numbers.</div>"
        low, high = self.values.min().item(), self.values.max().item()
        off = (self.values - 1).abs().max().item()
        return (
            f"<div>σ from <b>{magnitude(low)}</b> to <b>{magnitude(high)}</b>; largest |σ − 1|: "
            f"<b>{magnitude(off)}</b></div>"
        )

    def page(self) -> str:
        return super().page().replace("<p><em>", f"<div>{self.choice}</div>{self.summary()}<p><em>", 1)

    def _widget(self) -> widgets.Widget:
        names = tuple(name for name in architectures() if name not in architectures("image"))
        depth = control(widgets.IntSlider, "depth", value=self.choice.depth, min=1, max=DEEPEST)
        self.network = NetworkControls(self.choice, names, depth, live=True)
        self.seed = control(widgets.IntSlider, "seed", value=self.choice.seed, min=0, max=20)
        self.words, self.picture = widgets.HTML(), widgets.HTML()
        self.network.on_change(self._update)
        self.seed.observe(lambda _: self._update(), "value")
        self._show()
        rows = [self.network.box, wrap([self.seed]), self.words, self.picture]
        return widgets.VBox(rows, layout=widgets.Layout(max_width="960px"))

    def _show(self) -> None:
        self.words.value, self.picture.value = self.summary(), _svg.grid(self.panels())

    def _update(self) -> None:
        try:
            self._compute(self.network.choice(seed=self.seed.value))
        except (ValueError, RuntimeError, MemoryError) as error:  # RuntimeError: torch's own
            self.words.value, self.picture.value = complaint(error), ""
        else:
            self._show()
