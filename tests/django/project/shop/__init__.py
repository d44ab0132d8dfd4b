"""The user's own app: orders that somebody approves."""
