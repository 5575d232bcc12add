"""Names of Azure ML's inference server that scoring scripts import."""
