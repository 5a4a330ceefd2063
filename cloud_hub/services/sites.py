"""The sites that are enrolled here: entered into the books at start, and told the rules and prices in force (own-6).

Invariant: a profile is told to a site once per version and never taken back by an older one.
"""

from __future__ import annotations

import asyncio

import msgspec

from shared.ledger import records, streams
from shared.ledger.desk import Desk
from shared.messages import ProfileStated
from shared.policy import Profile
from shared.profiles import to_json
from shared.runtime import log
from shared.runtime.database import Database, Event, InlineWriter, Tx

_log = log.get("hub.sites")


class Sites:
    """`names`: site id -> the name shown until the site has stated its own."""

    def __init__(self, db: Database | InlineWriter, desk: Desk, hub_id: str, names: dict[str, str], profile: Profile):
        self._db, self._desk, self._hub_id, self._names, self._profile = db, desk, hub_id, names, profile
        self._telling: set[asyncio.Task] = set()
        db.listen(self._changed)

    async def start(self) -> None:
        """Enters every enrolled site, tries again what stood still at a row of theirs, and tells those that have been heard before."""

        def enter(tx: Tx) -> None:
            for site_id in self._names:
                streams.open_site(tx, site_id, hub_id=self._hub_id, box_id=self._desk.box_id, term=self._desk.term)
                streams.start_again(tx, site_id)

        await self._db.write(enter)
        for site_id in self._names:
            await self.tell(site_id)

    async def stop(self) -> None:
        await asyncio.gather(*self._telling, return_exceptions=True)

    def name(self, site_id: str) -> str:
        found = self._db.read(lambda tx: records.facility(tx, site_id))
        return found.name if found else self._names.get(site_id, site_id)

    def _changed(self, events: list[Event]) -> None:
        for topic, site_id in events:
            if topic == "stream" and site_id in self._names:
                task = asyncio.get_running_loop().create_task(self.tell(site_id))
                self._telling.add(task)
                task.add_done_callback(self._telling.discard)

    async def tell(self, site_id: str) -> bool:
        """States the profile to the site if it has not had this version. False where there is nothing to tell, or nobody yet to tell it to."""
        return await self._db.write(lambda tx: self._tell(tx, site_id))

    def _tell(self, tx: Tx, site_id: str) -> bool:
        if not streams.lock(tx, site_id).epoch:
            return False
        body, version = to_json(self._profile), self._profile.version
        known = records.document(tx, "profile", site_id)
        if known is not None and known[0] >= version:
            if known[1].encode() != body:
                _log.warning("sites.profile_kept", site_id=site_id, kept_version=known[0], file_version=version,
                             why="the profile has changed without a higher version")  # fmt: skip
            return False
        records.put_document(tx, "profile", site_id, site_id, version, body.decode())
        streams.append(tx, self._desk, site_id, ProfileStated(profile=msgspec.Raw(body), version=version))
        return True
