"""Jobs driven at random, against a model of the state table."""
