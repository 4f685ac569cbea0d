"""What the end-to-end tests stand on: a server, its clients, functions, and a look for leaks."""
