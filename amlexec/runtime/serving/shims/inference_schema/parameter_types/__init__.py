"""Types of parameters, made of a sample each."""
