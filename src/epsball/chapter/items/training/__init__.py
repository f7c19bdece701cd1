"""Items of section 17.1: empirical adversarial training."""
