"""Records, their buffer, the hash chain, and its verification (TRACE, PROTOCOL 3)."""
