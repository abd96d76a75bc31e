"""Settings for all tests."""

from __future__ import annotations

import os

from hypothesis import settings

# Where a change waits for the answer, the same code gives the same answer; elsewhere, each run looks somewhere new.
settings.register_profile("ci", derandomize=True)
if os.environ.get("CI"):
    settings.load_profile("ci")
