"""All SQL, one noun a module.

What changes jobs: `attempts`, `deliveries`, `decisions`, `times`. What reads them: `read`. What all
of them run on: `database`, `sql`, `noted`.
"""
