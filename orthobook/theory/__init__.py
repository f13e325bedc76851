"""What is predicted or proved of networks, and never trained.

    mean_field      lengths, angles and gradient coherence in wide random networks, layer by layer
    depth_budget    how deep a nearly orthogonal network may be
    spectra         the law of the singular values, by free probability
    certificates    Lipschitz bounds, certified radii, and attacks that test them
    subspaces       partial isometries, and subspaces that persist through depth
    origami         the plane folded by a network

Each is imported when it is asked for: ``from orthobook.theory import spectra``.
"""
