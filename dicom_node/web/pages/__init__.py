"""The pages: a module for each, with its addresses and what it shows."""
