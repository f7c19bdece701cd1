"""Drawings of landscapes: slices, maps, surfaces, and pages of them."""
