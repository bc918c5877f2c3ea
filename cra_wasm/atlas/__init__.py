"""Loading an atlas and telling all that is wrong with it (PROTOCOL 1)."""
