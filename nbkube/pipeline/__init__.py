"""The graph a tagged notebook means: steps, parameters, metrics, options."""
