"""What attacks are made of: steps, starts, walkers."""
