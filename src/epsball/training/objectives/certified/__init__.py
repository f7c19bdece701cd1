"""Certified training: objectives that bound the loss at every point of N(x)."""
