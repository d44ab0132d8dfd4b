"""``make soak MINUTES=10``: a soak of every combination, with a ledger; exit 1 on any loss."""
