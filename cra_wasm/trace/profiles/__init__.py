"""Traces of other writers of TRACE, each verified by the recipe that its writer hashes by (PROTOCOL 3.10)."""
