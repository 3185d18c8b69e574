"""The line agent: from a camera's picture to the reject gate, by way of a Touchstone service."""
