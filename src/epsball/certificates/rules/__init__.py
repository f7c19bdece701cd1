"""The rules by which nodes are bounded, one file per family."""
