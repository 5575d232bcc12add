"""`azureml.sdk` of Workbench: only its `data_collector`."""
