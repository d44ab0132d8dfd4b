"""Two at once, with real workers: the interleaving is forced, and one of them counts."""
