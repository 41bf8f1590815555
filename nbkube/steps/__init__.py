"""A step of a pipeline as a program: data, never generated Python."""
