"""The chapter's experiments: what is trained and measured for it."""
