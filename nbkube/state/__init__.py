"""Values of the notebook as bytes, and back with their identity."""
