"""Deciding a trace anew from its atlases, and telling what comes out otherwise (PROTOCOL 3.11)."""
