"""Commands that crash. The modules that check what is left say what is wrong, as tests do."""

import pytest

pytest.register_assert_rewrite("tests.crash.flows", "tests.crash.harness")
