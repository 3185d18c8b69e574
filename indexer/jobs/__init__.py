"""Long work on a whole data folder: indexing, encoding again, backups."""
