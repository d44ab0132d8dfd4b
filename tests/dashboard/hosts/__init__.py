"""What stands around the code of docs/dashboard.md where it is served: logins."""
