"""ASGI layers around every request."""
