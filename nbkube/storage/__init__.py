"""Bytes by content and by name: the object store."""
