"""The examples, each by itself: its own tests, and one real run."""
