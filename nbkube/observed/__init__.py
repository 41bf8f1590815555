"""What earlier runs of the same code were seen to do, laid over what analysis says."""

from __future__ import annotations

from nbkube.observed.flow import with_record
from nbkube.observed.record import UnitRecord, records_of

__all__ = ["UnitRecord", "records_of", "with_record"]
