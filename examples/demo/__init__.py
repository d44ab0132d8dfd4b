"""A shop's pictures: rendered outside, approved by a person, then published."""
