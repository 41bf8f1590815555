"""Settings for all tests."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# Generated examples are judged by their result; on a busy machine the time of a single one says nothing.
settings.register_profile("nbkube", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("nbkube")
