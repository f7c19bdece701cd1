"""The convex outer polytope: the linear program of all lines around the neurons, and bounds from its multipliers."""
