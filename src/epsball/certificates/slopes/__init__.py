"""Optimising the slopes of relaxations."""
