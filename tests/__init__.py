"""The tests of celery-external, against real servers and real processes."""
