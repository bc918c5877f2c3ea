"""What an agent may do and know: policies compiled into plans (CARP, PROTOCOL 2)."""
