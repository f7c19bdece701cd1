"""Maximum flow over the conflict graph."""
