"""Properties are judged by what they say, not by how long a busy machine takes to say it.

The tensors of the tests are small: where cores are busy, threads that wait for each other cost more than
they gain.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

os.environ.setdefault("OMP_NUM_THREADS", "1")  # read when torch is imported

settings.register_profile(
    "any machine",
    deadline=None,
    suppress_health_check=(HealthCheck.too_slow,),
    derandomize=bool(os.environ.get("CI")),
)
settings.load_profile("any machine")
