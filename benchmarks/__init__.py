"""Commands that print and save the tables that the documentation quotes."""
