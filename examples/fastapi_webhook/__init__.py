"""The smallest FastAPI app: an order, a service that calls back, a person's word by an API key."""
