"""Properties are judged by what they say, not by how long a busy machine takes to say it."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

settings.register_profile(
    "any machine",
    deadline=None,
    suppress_health_check=(HealthCheck.too_slow,),
    derandomize=bool(os.environ.get("CI")),
)
settings.load_profile("any machine")
