"""Tools for models that hide their gradients, and attacks of other libraries."""
