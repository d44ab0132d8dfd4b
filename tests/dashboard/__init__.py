"""The dashboard without a browser: its pages, its forms, and every host."""
