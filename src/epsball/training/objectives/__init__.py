"""The objectives, one file per defence."""
