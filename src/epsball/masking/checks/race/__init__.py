"""Attacks against each other: one that should be weaker must not be stronger."""
