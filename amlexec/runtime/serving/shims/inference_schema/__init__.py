"""The decorators of inference-schema, as far as scoring scripts use them."""
