"""Items of section 17.2: gradient masking."""
