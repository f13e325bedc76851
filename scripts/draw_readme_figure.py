"""Draw the README's picture: how the singular values of deep networks spread with depth.

Run it as ``python scripts/draw_readme_figure.py``; it takes some seconds and writes book/_static/spectrum.svg.
"""

from pathlib import Path

import torch

import orthobook as ob
from orthobook import figures

TARGET = Path(__file__).resolve().parent.parent / "book" / "_static" / "spectrum.svg"
ARCHITECTURES = {
    "ReLU, orthogonal weights": "relu-orthogonal",
    "tanh, orthogonal weights": "tanh-orthogonal",
    "residual, branches / √L": "residual",
    "shifted fold, no skip": "shifted-fold",
}


def main() -> None:
    """Measure four untrained networks of 200 layers and width 64 on four images, seed 0, and draw them."""
    images = ob.load("fashion-mnist-small").test.images[:4]
    spectra = {}
    for label, architecture in ARCHITECTURES.items():
        net = ob.build(architecture, depth=200, width=64, inputs=784, classes=10, seed=0)
        jacobians = ob.jacobians(net, images, dtype=torch.float64)
        spectra[label] = torch.stack([torch.linalg.svdvals(J).flatten() for J in jacobians]).cpu()
    figure = figures.spectrum_by_depth(spectra, floor=1e-6)
    figure.savefig(TARGET, metadata={"Date": None})


if __name__ == "__main__":
    main()
