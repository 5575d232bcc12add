"""Kubernetes clusters, over the official client, which is an extra."""
