"""What stands around the code of the docs' pages where it is served: logins, a second receiver.

The second one is at ``/away``; its database is on the server that a test stops.
"""
