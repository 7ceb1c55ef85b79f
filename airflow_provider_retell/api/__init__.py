"""Talk to Retell over HTTP; know nothing of tasks and DAGs."""
