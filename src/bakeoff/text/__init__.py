"""Text in, text out: escaping, redaction, number formatting."""
