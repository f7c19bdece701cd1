"""Items of section 17.6: optimal adversarial risk."""
