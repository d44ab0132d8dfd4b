"""The pages as people have them: in a real browser."""
