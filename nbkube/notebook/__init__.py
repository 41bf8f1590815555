"""Notebook files: read them, edit their tags and options back."""
