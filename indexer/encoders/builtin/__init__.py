"""The encoder that ships with the product: fixed filters joined with a network trained on photographs."""
