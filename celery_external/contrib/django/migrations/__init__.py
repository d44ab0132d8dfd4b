"""Django's migrations: each runs one of `celery_external.migrations`."""
