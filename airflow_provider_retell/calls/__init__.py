"""Place one call of a task once, watch it, stop it, report it."""
