"""The recipes of docs/clients.md, run by the clients that they are for."""
