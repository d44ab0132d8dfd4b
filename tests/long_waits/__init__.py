"""Jobs that wait for longer than Celery remembers the others of their group."""
