"""Count and write how a campaign went, and read how earlier ones went."""
