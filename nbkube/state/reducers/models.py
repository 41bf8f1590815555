"""Keras models, and TensorFlow objects that live only in their process."""
