"""SIGKILL at every step of a job: who dies where, and what the others make of it."""
