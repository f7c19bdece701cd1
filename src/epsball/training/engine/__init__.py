"""What takes a training from one step to the next."""
