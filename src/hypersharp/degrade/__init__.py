"""How a sharp cube becomes a blurred one: point spread, spectral response, noise; the Wald protocol."""
