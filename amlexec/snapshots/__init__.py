"""SNAPSHOT: the copy of the project that a run executes, and sending it to another machine."""
