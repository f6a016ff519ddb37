"""What people read of a run: `data` collects it once; the other modules each say it in one form."""
