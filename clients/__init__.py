"""What runs elsewhere and talks to a Touchstone server over HTTP only."""
