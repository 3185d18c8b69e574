"""What the service does for a request, whatever carries it."""
