"""Certificates as files that the independent checker replays."""
