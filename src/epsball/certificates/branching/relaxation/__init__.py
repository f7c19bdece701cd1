"""The relaxation of a network on a part of its domain: its unstable rectifiers, and the dual that bounds them."""
