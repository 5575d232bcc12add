"""Services: images that answer requests with a scoring script and models, and their containers."""
