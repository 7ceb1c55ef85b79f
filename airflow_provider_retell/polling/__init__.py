"""Poll Retell once for all deferred tasks and watchers of a triggerer."""
