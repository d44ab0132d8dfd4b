"""Articles, and the review that each of them goes through."""
