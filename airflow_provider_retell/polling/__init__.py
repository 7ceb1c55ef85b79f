"""One poll for all that wait on an event loop."""
