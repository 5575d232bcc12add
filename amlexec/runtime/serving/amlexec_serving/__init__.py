"""The server of a service: loads a scoring script and answers HTTP requests. It travels into an image.

It needs Python 3.8, and nothing that is installed there but uvicorn, whose folder is the last on `sys.path`.
"""
