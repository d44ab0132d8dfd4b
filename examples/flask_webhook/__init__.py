"""The smallest Flask app: it starts a chain, a service calls back, a person decides by a link."""
