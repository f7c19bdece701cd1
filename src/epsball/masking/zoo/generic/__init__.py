"""Defences of a kind rather than of a paper: one file each."""
