"""Branch and bound over boxes: of the input and of single neurons, every node bounded anew on what is left."""
