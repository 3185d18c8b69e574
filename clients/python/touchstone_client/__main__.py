"""`python -m touchstone_client` runs the `touchstone-client` command."""

from touchstone_client.cli import main

raise SystemExit(main())
