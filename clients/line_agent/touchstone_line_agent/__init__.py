"""The line agent: captures an image of each part, has a Touchstone service inspect it, and controls the reject gate."""
