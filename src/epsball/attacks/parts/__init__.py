"""What attacks are made of: steps, starts, objectives of rows."""
