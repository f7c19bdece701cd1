"""Training of the zoo's networks."""
