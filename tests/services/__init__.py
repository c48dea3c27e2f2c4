"""Loopback services for tests and the demo; nothing here reaches beyond 127.0.0.1."""
