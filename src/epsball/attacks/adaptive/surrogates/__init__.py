"""Surrogate gradients of operations that have none, one file per kind of operation."""
