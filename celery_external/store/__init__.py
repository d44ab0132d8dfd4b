"""All SQL: what writes (`write`), what reads (`read`), and what both run on (`database`)."""
