"""What `Resolver` wires together: sessions, numbering of events, and the way of one execute."""
