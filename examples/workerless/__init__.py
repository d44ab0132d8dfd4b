"""A step that is completed without a worker, in one transaction with the caller's own writes."""
