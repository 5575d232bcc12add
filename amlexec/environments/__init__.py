"""What an environment is: its value, its digest, its lock, and why one has to be made again. Values only."""
