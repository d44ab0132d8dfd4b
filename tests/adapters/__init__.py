"""The receiver through real HTTP: gunicorn and uvicorn, the code of the docs' pages, workers."""
