"""Items of section 17.3: TRADES and the risk decomposition."""
