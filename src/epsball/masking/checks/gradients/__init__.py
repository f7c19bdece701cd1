"""What gradients are worth, and the shape of the margin."""
