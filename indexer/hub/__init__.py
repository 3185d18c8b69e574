"""The hub of published encoders: which there are, what they are called, and fetching them. Loads no torch."""
