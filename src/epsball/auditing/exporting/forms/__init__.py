"""The forms in which results leave: what each asks, and how it is written."""
