"""What a training writes, and how it resumes from it."""
