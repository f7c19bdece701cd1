"""The six indicators of attack failure (Pintor et al. 2022), under their names."""
