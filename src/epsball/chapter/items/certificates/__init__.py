"""Items of section 17.4: certified robustness."""
