"""What is cheap enough to look at every second or two: lines, releases, link states, against what the world knows of the truth."""

from __future__ import annotations

from shared.ledger import lines
from shared.runtime.database import Tx
from tests.simulation.oracle import Oracle
from tests.world import World

#: about how long ago the last look was
GLANCE_S = 2.0


class Glance:
    """`look()` returns sentences of what is wrong now."""

    def __init__(self, world: World, oracle: Oracle, spoilt: set[str]):
        """`spoilt`: bays whose line a disk has spoilt at the hub, which nobody has mended yet."""
        self.w, self.o, self._spoilt = world, oracle, spoilt
        self._site_lines: dict[str, dict[str, int]] = {}
        self._hub_lines: dict[str, dict[str, int]] = {}
        self._boxes: dict[str, str] = {}
        #: site -> since when its clock and the hub's have been more than a minute apart
        self._apart_since: dict[str, float] = {}

    def look(self) -> list[str]:
        out: list[str] = []
        for site_id in self.w.site_ids:
            out += self._site(site_id)
        return out

    def _site(self, site_id: str) -> list[str]:
        w, out = self.w, []
        site, hub = w.sites[site_id], w.hub
        at_site = site.once(("lines", site_id), lambda tx: lines.lines_of(tx, site_id))
        at_hub = hub.once(("lines", site_id), lambda tx: lines.lines_of(tx, site_id))
        box = f"{site.box_id}/{hub.box_id}"
        whole = site.up and hub.up and box == self._boxes.get(site_id, box) and not self.hurt(site_id)
        if whole:
            for r, line in at_hub.items():
                if at_site.get(r, 0) > line and r not in self._spoilt:
                    out.append(f"the line of {r} is {at_site[r] - w.slot0} at the site and {line - w.slot0} at the hub")
            for name, now, before in (("site", at_site, self._site_lines.get(site_id, {})), ("hub", at_hub, self._hub_lines.get(site_id, {}))):
                fell = [r for r, line in now.items() if line < before.get(r, 0) and not (name == "hub" and r in self._spoilt)]
                out += [f"the line of {r} fell at the {name}" for r in fell]
            out += self._released_in_the_dark(site_id, at_hub)
            out += self._released_by_a_wrong_clock(site_id, at_hub)
        else:
            self._apart_since.pop(site_id, None)
        self._boxes[site_id] = box
        self._site_lines[site_id], self._hub_lines[site_id] = at_site, at_hub
        out += self._too_far(site_id, at_hub)
        waiting = hub.once(("released", site_id), lambda tx: self._released(tx, site_id))
        out += [f"two releases of {r} are under way at once" for r in dict.fromkeys(waiting) if waiting.count(r) > 1]
        return out

    @staticmethod
    def _released(tx: Tx, site_id: str) -> list[str]:
        """The bay of every release that is under way."""
        rows = tx.all("SELECT body FROM outbox WHERE type = 'Released' AND site_id = :s", {"s": site_id})
        return [body.split('"resource_id":"')[1].split('"')[0] for (body,) in rows]

    def hurt(self, site_id: str) -> bool:
        """Whether a repair of this site's books is under way, or due."""
        both = (self.w.hub.stream(site_id), self.w.sites[site_id].stream(site_id))
        return any(s is None or s.fenced or s.repair or s.closed for s in both)

    def _released_in_the_dark(self, site_id: str, at_hub: dict[str, int]) -> list[str]:
        """While nobody can hear anybody, nothing is heard, and no line moves."""
        dark_s = self.w.dark_for(site_id)
        if dark_s < self.w.limits.link_silence_s + 2 + GLANCE_S:
            return []
        out = []
        if self.w.hub.hears(site_id):
            out.append(f"the hub believes that it hears {site_id}, which has been cut off for {dark_s:.0f} s")
        before = self._hub_lines.get(site_id, {})
        out += [f"the line of {r} rose in a cut" for r, line in at_hub.items() if line > before.get(r, line)]
        return out

    def _released_by_a_wrong_clock(self, site_id: str, at_hub: dict[str, int]) -> list[str]:
        """clock-1: two clocks that differ by more than a minute are known to, or nobody is heard, after one silence of the link."""
        limits, now = self.w.limits, self.w.loop.time()
        if abs(self.w.hub.clock.skew_s - self.w.sites[site_id].clock.skew_s) < limits.skew_stop_s + 10:
            self._apart_since.pop(site_id, None)
            return []
        if now - self._apart_since.setdefault(site_id, now) < limits.link_silence_s + limits.hello_every_s + GLANCE_S:
            return []
        before = self._hub_lines.get(site_id, {})
        return [f"the line of {r} rose by a clock that differs" for r, line in at_hub.items() if line > before.get(r, line)]

    def _too_far(self, site_id: str, at_hub: dict[str, int]) -> list[str]:
        """terr-2: never past the constant by the hub's clock, which may have been ahead; a repair where both were fenced goes as far."""
        ahead = self.w.limits.release_ahead_max_s // 900 + 2
        wrong = max(self.w.hub.clock.skew_s, 0) // 900 + 2
        self._ahead_slots = max(getattr(self, "_ahead_slots", 0), wrong)
        most = int(self.w.now() // 900 + ahead + self._ahead_slots)
        return [f"the line of {r} is {line - most} slots further than it may be" for r, line in at_hub.items() if line > most]
