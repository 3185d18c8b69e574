"""`python -m touchstone_client` is `touchstone-client`."""

from touchstone_client.cli import main

raise SystemExit(main())
