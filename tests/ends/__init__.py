"""Ends that Celery brings about itself: the row and the result backend agree, nothing is lost."""
