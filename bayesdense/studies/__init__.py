"""Studies of many fits: the only place, besides the command line, where both branches meet."""
