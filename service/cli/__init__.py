"""The command line: `app.py` has every command, `__main__.py` runs it as a process."""
