"""Azure's services: containers in the cloud, and the storage that their runs use. Over Azure's own SDK."""
