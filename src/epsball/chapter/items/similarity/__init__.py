"""Items of section 17.5: representations."""
