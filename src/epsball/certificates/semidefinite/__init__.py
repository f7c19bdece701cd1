"""The semidefinite relaxation: quadratic constraints of rectifiers, their multipliers, and bounds that these prove."""
