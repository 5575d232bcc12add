"""The page of runs, in a real browser, and curves on a terminal."""
