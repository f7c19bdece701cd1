"""What is bounded better before a search: every unstable neuron, envelopes, neurons under a condition."""
