"""Plans that were read once and are none: what was wrong with each, so that nobody reads it again.

The file is private and on the owner's machine: the front desk can't add to it.
"""

import json
from importlib import metadata
from pathlib import Path

from syft_code.runtime import durable_files

MOST_REMEMBERED = 1000


class RefusedPlans:
    """By the hash of their bytes, for this version of Consilium; another one may read them."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "refused_plans.json"
        self._version = metadata.version("consilium")

    def sentence(self, plan_hash: str) -> str:
        """Why these bytes are no plan; empty if nothing is known of them."""
        return self._read().get(plan_hash, "")

    def note(self, plan_hash: str, sentence: str) -> None:
        """Remember it; of very many the newest."""
        known = [*self._read().items(), (plan_hash, sentence)]
        record = {"version": self._version, "plans": dict(known[-MOST_REMEMBERED:])}
        durable_files.write_durably(self._path, json.dumps(record).encode(), owned_as_folder=True)

    def _read(self) -> dict[str, str]:
        """Nothing if there is no file, or another than this version writes."""
        try:
            record = json.loads(self._path.read_bytes())
            if record["version"] == self._version:
                return {str(key): str(value) for key, value in record["plans"].items()}
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            pass
        return {}
