"""GC: what takes disk space here and on the targets, what is still needed, and what may go."""
