"""Call a list of people from one task."""
