"""What `epsball explain` says: read from docstrings and registries, so that nothing is written twice."""
