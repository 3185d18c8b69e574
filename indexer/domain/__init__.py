"""Plain frozen values and the errors of the product; imports nothing but the standard library."""
