"""The machines around a line agent, as real servers in processes of their own."""
