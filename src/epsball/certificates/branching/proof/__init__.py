"""The proof of leaves on the whole network, and what it stands on."""
