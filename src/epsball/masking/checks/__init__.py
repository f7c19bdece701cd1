"""The checks of a diagnosis: one small file each, listed in the registry."""
