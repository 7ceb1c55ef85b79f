"""What waiting costs, measured. `make bench` runs all of it and writes README.md; nothing here is a test."""
