"""Write rows to files that are never seen half written, and list them in a manifest."""
