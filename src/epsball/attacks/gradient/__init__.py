"""Attacks of a fixed budget that follow gradients in the ball."""
