"""How a call reaches its provider: which way it goes, and what of the reply is let in."""
