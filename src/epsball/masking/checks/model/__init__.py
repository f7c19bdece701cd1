"""What the model does beside mapping inputs to logits."""
