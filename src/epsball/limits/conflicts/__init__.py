"""The conflict graph of a sample: which examples no classifier can keep together."""
