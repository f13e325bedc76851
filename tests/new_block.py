"""A pytest plugin that registers one new block, as a user would write it; the suites then run over it as it stands."""

from dataclasses import dataclass

import orthobook as ob
from orthobook.layers.activations import triangle_wave
from orthobook.layers.feedforward import PartialFold


@ob.register("half-zigzag")
@dataclass(frozen=True, kw_only=True)
class HalfZigzag(PartialFold):
    """Let z = Wx + b: a triangle wave on the first half of z, the rest as it is."""

    threshold: float = 0.0
    period: float = 3.0

    @property
    def activation(self):
        return triangle_wave(self.period)
