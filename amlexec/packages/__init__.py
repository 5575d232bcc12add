"""Which packages an environment comes to, where they come from, and how they get into a folder."""
