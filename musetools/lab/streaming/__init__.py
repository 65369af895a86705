"""How late, and how far from offline, live audio is."""
