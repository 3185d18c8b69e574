"""`touchstone serve --ray`: Ray Serve deployments encode and search for the front, the process that answers HTTP.

Imported with `--ray` only.
"""
