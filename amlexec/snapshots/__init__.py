"""SNAPSHOT: take the copy of the project that a run executes, and send it to other machines."""
