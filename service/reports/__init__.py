"""What people ask of a running daemon, told from its levels: what rules owe, and what pages were worth."""
