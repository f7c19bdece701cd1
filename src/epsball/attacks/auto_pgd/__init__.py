"""Auto-PGD: the ascent that adapts its step size, in every norm."""
