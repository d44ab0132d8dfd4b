"""Programs that show celery-external at work."""
