"""Measure what waiting costs. `make bench` runs all of it and writes README.md; nothing here is a test."""
