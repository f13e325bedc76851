"""Kinds of layers, one class for each architecture, baselines included.

base            what a kind of layer is: :class:`Block`; the names, :func:`register` and :func:`architectures`
activations     piecewise affine functions and their slopes
feedforward     an orthogonal matrix, then an activation
residual        with a skip connection: reflections, and the residual baselines
groups          sorting, reflecting and doubling groups of coordinates
nearly          a crease that is rounded, slopes that differ
persistent      a subspace that every layer keeps
images          orthogonal convolutions
"""

from orthobook.layers import feedforward, groups, images, nearly, persistent, residual  # noqa: F401 (they register)
from orthobook.layers.base import Block, architectures, block, register

__all__ = ["Block", "architectures", "block", "register"]
