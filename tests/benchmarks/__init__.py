"""What things cost, measured side by side: see README.md."""
