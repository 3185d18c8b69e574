"""The history of the schema, shipped with the package."""
