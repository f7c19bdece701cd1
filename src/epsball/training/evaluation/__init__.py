"""What is measured after each epoch."""
