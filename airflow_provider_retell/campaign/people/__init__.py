"""Read who is to be called, and identify each person."""
