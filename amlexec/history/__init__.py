"""RECORD: the folder and record of every run, and how to find a run."""
