"""Time as the runtime counts it."""
