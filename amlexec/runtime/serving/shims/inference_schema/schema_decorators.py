"""`@input_schema` and `@output_schema`."""

from amlexec_serving.decorators import input_schema, output_schema

__all__ = ["input_schema", "output_schema"]
