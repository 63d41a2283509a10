"""How the commands speak: what they print, and how they end."""
