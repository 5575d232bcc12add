"""Look at runs: one HTML page with tables, curves, differences and files, and curves on a terminal."""
