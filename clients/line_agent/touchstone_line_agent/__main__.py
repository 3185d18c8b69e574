"""`python -m touchstone_line_agent` is `touchstone-line-agent`."""

from touchstone_line_agent.cli import main

raise SystemExit(main())
