"""Run a campaign on a worker."""
