"""Gradient masking: the geometry of a classifier's losses around its inputs, and what it says about attacks."""
