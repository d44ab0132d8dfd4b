"""Django: its connection, its transactions, its migrations, its test runner."""
