"""Decide what a campaign does next. Pure."""
