"""The soak: everything is killed and restarted at random, and a ledger shows what was lost."""
