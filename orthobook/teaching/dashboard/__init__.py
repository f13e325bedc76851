"""Live dashboards for a running kernel, in JupyterLab and in Colab: train, and look at spectra.

    ob.dashboard.training()    choose a network, start, pause and stop it, and see it beside the run before
    ob.dashboard.spectrum()    move sliders: the exact singular values of the Jacobian follow

They only drive the package: ``ob.train`` yields a measurement after each step, and ``ob.singular_values`` computes.
Where there is no kernel, in the built book, each shows a still picture of itself.
"""

from orthobook.teaching.dashboard._spectrum import SpectrumDashboard, spectrum
from orthobook.teaching.dashboard._training import TrainingDashboard, training

__all__ = ["SpectrumDashboard", "TrainingDashboard", "spectrum", "training"]
