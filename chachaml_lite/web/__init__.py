"""HTTP: reads a request's shape, asks `tracking`, writes the answer. The only package that imports flask."""
