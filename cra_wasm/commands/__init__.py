"""The commands of the command line, a module each: `add` declares its arguments, `run` answers."""
