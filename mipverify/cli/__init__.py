"""Arguments to calls; the only room that prints."""
