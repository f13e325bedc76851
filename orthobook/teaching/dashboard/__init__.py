"""Live dashboards for a running kernel, in JupyterLab and in Colab: train, look at spectra, examine one layer.

    ob.dashboard.training()    choose a network, start, pause and stop it, and see it beside the run before
    ob.dashboard.spectrum()    move sliders: the exact singular values of the Jacobian follow
    ob.dashboard.layer()       type A, B, C and the slopes: which condition of the theorem holds, which fails

They only drive the package: ``ob.train`` yields a measurement after each step, ``ob.singular_values`` computes, and
``ob.factorise`` judges. Where there is no kernel, in the built book, each shows a still picture of itself.
"""

from orthobook.teaching.dashboard._layer import LayerDashboard, layer
from orthobook.teaching.dashboard._spectrum import SpectrumDashboard, spectrum
from orthobook.teaching.dashboard._training import TrainingDashboard, training

__all__ = ["LayerDashboard", "SpectrumDashboard", "TrainingDashboard", "layer", "spectrum", "training"]
