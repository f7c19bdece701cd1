"""Branch and bound: domains split at the kinks of piecewise linear functions, each part bounded with multipliers."""
