"""What is known of the evaluation apart from gradients and races."""
