"""Export calls: read them page by page, make rows of them, and write files."""
