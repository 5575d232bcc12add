"""PREPARE: is an environment there, why not, and making it so, wherever environments are kept."""
