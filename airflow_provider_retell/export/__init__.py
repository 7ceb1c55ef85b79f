"""What the export operator is made of: pages of calls come in, rows are made of them, files go out."""
