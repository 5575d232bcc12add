"""A Docker engine, its images and its containers, over the engine's own interface."""
