"""The dashboard of spectra: sliders for a network, and the exact singular values of its Jacobian at once."""

from __future__ import annotations

import ipywidgets as widgets

from orthobook.derivatives import singular_values
from orthobook.figures.scales import COLOURS, magnitude
from orthobook.layers.base import architectures
from orthobook.teaching.dashboard import _svg
from orthobook.teaching.dashboard._base import Choice, Dashboard, NetworkControls, complaint, control, load_once, prose

__all__ = ["SpectrumDashboard", "spectrum"]

IMAGES = 4  # whose Jacobians are looked at
DEEPEST = 300  # of the slider
WIDTH = 860  # of the picture: with the text around it as wide as the controls


def spectrum() -> SpectrumDashboard:
    """Return the dashboard that shows the singular values of untrained networks while sliders move.

    They are those of the trunk's Jacobian at four images of Fashion-MNIST, from :func:`orthobook.singular_values`.
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
        self.choice = Choice(architecture="residual", depth=50)
        self._reach: tuple[float, ...] = ()  # the least and the largest value since the architecture was chosen
        self._compute(self.choice)

    def _compute(self, choice: Choice) -> None:
        data = load_once(choice.data)
        values = singular_values(choice.build(data), data.test.images[:IMAGES])
        # the axis only grows: one that jumps to and fro with a slider would hide how the spectrum moves
        known = self._reach if choice.architecture == self.choice.architecture else ()
        seen = [*known, *values[values.isfinite()].tolist()]
        self._reach = (min(seen), max(seen)) if seen else ()
        self.choice, self.values = choice, values

    def panels(self) -> list[str]:
        """Return the histogram of the singular values."""
        title = f"share of {self.values.numel()} singular values, at {IMAGES} images"
        finite = self.values[self.values.isfinite()]
        spectra = [(COLOURS[0], finite.numpy())] if len(finite) else []
        return [_svg.histograms(title, spectra, reach=self._reach, width=WIDTH)]

    def words(self) -> str:
        """Return the network and the ends of its spectrum, as HTML."""
        if not self.values.isfinite().all():
            return f"<div>{self.choice}</div><div>The Jacobian has grown beyond all floating-point numbers.</div>"
        low, high = self.values.min().item(), self.values.max().item()
        off = (self.values - 1).abs().max().item()
        return (
            f"<div>{self.choice}</div><div>σ from <b>{magnitude(low)}</b> to <b>{magnitude(high)}</b>; "
            f"largest |σ − 1|: <b>{magnitude(off)}</b></div>"
        )

    def _widget(self) -> widgets.Widget:
        names = architectures("square") + architectures("rectangular")
        depth = control(widgets.IntSlider, "depth", value=self.choice.depth, min=1, max=DEEPEST)
        self.seed = control(widgets.IntSlider, "seed", value=self.choice.seed, min=0, max=20)
        self.network = NetworkControls(self.choice, names, depth, [self.seed], live=True)
        self.output, self.picture = widgets.HTML(), widgets.HTML()
        self.network.on_change(self._update)
        self._show()
        rows = [self.network.box, self.output, self.picture]
        return widgets.VBox(rows, layout=widgets.Layout(max_width="960px"))

    def _show(self) -> None:
        self.output.value, self.picture.value = prose(self.words()), _svg.grid(self.panels())

    def _update(self) -> None:
        try:
            self._compute(self.network.choice(seed=self.seed.value))
        except (ValueError, RuntimeError, MemoryError) as error:  # RuntimeError: torch's own
            self.output.value, self.picture.value = complaint(error), ""
        else:
            self._show()
