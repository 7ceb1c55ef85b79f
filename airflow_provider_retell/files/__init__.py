"""Rows as files, complete and by name."""
