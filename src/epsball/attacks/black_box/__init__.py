"""Attacks that need scores or decisions only, or no query at all."""
