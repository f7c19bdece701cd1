"""More than two classes: sets of more than two examples whose balls share a point."""
