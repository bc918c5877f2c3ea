"""A witness of signed checkpoints: what it keeps, its HTTP, and how it is asked (PROTOCOL 3.19)."""
