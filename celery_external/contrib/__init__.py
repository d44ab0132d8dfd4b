"""For frameworks: each subpackage needs its own."""
