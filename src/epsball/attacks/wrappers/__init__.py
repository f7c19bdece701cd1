"""Attacks that change how another attack runs, or bring in another library's."""
