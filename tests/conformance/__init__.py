"""The conformance suite: an external task in an ordinary one's place changes nothing."""
