"""The singular values of wide random networks' Jacobians, by free probability.

Let Λ be a squared singular value of J, M(ζ) = E Λ/(ζ − Λ) and κ = (1 + M)/M. Where the factors of J = J_L ⋯ J_1 are
free, each has its own argument ζ_l, with M_l(ζ_l) = M(ζ), and since S-transforms multiply, S_l = κ/ζ_l,

    ζ/κ = ∏ ζ_l/κ        P(Λ > λ) = Im [Σ U_l(ζ_l) − (L − 1) log(κ − 1)]/π  at ζ = λ + i0,  U_l' = (1 + M_l)/ζ_l

    D = diag σ'(z), Haar weights      M_l = E T/(ζ_l − T),  T = σ'(z)²       U_l = E log(ζ_l − T)
    a Gaussian weight, variance 1/n   ζ_l = κ²/(κ − 1)                       U_l = log(κ − 1) + M
    I + W₂DW₁, Gaussian, strength g   M_l = (r − 1)/2 + E gTy/(1 − gTy),     U_l = 2M − log(r − 1) − r + E log(1 − gTy)
                                      y = (r² − 1)/4,  ζ_l = (1 + M)²/y

g is the product of the two weights' variances times n². The last row holds as I + W₂DW₁ has the singular values of
u + W₂DW₁, u Haar: R-diagonal elements, free, so that their determining series add; that of an element a is the inverse
of z ↦ z(1 + z) S_{aa*}(z). The equations are solved far from the spectrum, where M = E Λ/ζ, and followed to the real
axis.
"""

from orthobook.theory.spectra.factors import FeedforwardLayer, ResidualLayer
from orthobook.theory.spectra.law import SpectralLaw
from orthobook.theory.spectra.networks import feedforward_law, residual_law, spectral_law
from orthobook.theory.spectra.products import product_law
from orthobook.theory.spectra.slopes import SlopeLaw, mean_squares, slope_law

__all__ = [
    "FeedforwardLayer",
    "ResidualLayer",
    "SlopeLaw",
    "SpectralLaw",
    "feedforward_law",
    "mean_squares",
    "product_law",
    "residual_law",
    "slope_law",
    "spectral_law",
]
