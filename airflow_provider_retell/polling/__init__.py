"""One poll for all waiters on an event loop."""
