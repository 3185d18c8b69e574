"""Plain frozen values of the product; imports nothing but the standard library."""
