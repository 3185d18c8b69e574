"""Reports of lots and shifts, as HTML and PDF."""
