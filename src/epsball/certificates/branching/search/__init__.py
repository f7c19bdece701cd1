"""The search: parts of the domain, where they are cut, and where it looks for witnesses."""
