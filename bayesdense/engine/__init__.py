"""How a model is sampled: coordinates, whitening, samplers."""
