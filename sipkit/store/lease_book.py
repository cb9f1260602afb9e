"""Leases of bridges, whether who dialled them is still there, and which of several watchers acts on them."""

import json
import socket
from collections.abc import Iterable
from typing import Any, Final

from sqlalchemy import Connection, insert, select, update

from sipkit.guard import Lease
from sipkit.processes import ProcessMark
from sipkit.rooms import Bridge, Room
from sipkit.store.journal import Journal
from sipkit.store.schema import QUICK, READ, bridges, leaders, leases

OWNER_SILENT: Final = 60.0
"""Seconds after which an owner on another machine is gone, if nobody there has said meanwhile that it is not."""


class LeaseBook(Journal):
    """Keeps what was seen of each bridge."""

    def bridge_seen(self, bridge: Bridge, *, browser: bool | None, phone: bool) -> Lease:
        """Keep what is there now, and return what that makes of the bridge's lease.

        Args:
            bridge: A living bridge.
            browser: Whether anybody but the bridge is in the session; None if the platform does not tell: then all
                is as it was when it told last.
            phone: Whether a phone is in the conversation.
        """
        here = leases.c.bridge_id == bridge.id

        def work(conn: Connection) -> Lease:
            now = self.now(conn)
            row = conn.execute(select(leases).where(here).with_for_update()).mappings().first()
            before = {"no_browser_since": None, "nobody_since": None, "warned_for": None} if row is None else row
            after: dict[str, Any] = {"watched_at": now, "warned_for": before["warned_for"]}
            since = {name: before[name] for name in ("no_browser_since", "nobody_since")}
            if browser is not None:
                since["no_browser_since"] = None if browser else since["no_browser_since"] or now
            if browser is not None or phone:
                since["nobody_since"] = None if browser or phone else since["nobody_since"] or now
            after |= since
            holds = {"no-browser": since["no_browser_since"], "nobody": since["nobody_since"]}
            if holds.get(before["warned_for"] or "", True) is None:
                after["warned_for"] = None  # whoever comes and goes again is warned again
            opened_at = bridge.dialed_at.timestamp()
            if row is None:
                values = {"bridge_id": bridge.id, "environment": self.environment, "opened_at": opened_at}
                conn.execute(insert(leases).values(**values, **after))
            else:
                conn.execute(update(leases).where(here).values(**after))
            return Lease(bridge.id, opened_at, **since, warned_for=after["warned_for"] or "")

        return self.run(QUICK, work)

    def bridge_warned(self, bridge: Bridge, rule: str) -> None:
        """Keep what was warned of."""
        statement = update(leases).where(leases.c.bridge_id == bridge.id).values(warned_for=rule)
        self.run(QUICK, lambda conn: conn.execute(statement))

    def warned_of(self, room: Room) -> str:
        """Return the rule by which a room's call will be hung up in less than a minute; empty if by none."""
        here = (leases.c.bridge_id == bridges.c.id) & (bridges.c.living_room_id == room.id)
        return self.run(READ, lambda conn: conn.scalar(select(leases.c.warned_for).where(here)) or "")

    def tell_owner(self, owner: str) -> None:
        """Keep that this process is an owner of bridges: they are hung up when it has ended."""
        mark = ProcessMark.of()
        told = {"host": socket.gethostname(), "pid": mark.pid, "create_time": mark.create_time}
        self.set_fact(f"owner:{owner}", json.dumps(told))

    def keep_owners(self, owners: Iterable[str]) -> None:
        """Say of those owners that are living processes of this machine that they are: no other machine can see it."""
        for owner in owners:
            told = self.fact(f"owner:{owner}")
            if told and _here(json.loads(told)) and not self.owner_gone(owner):
                self.set_fact(f"owner:{owner}", told)

    def owner_gone(self, owner: str) -> bool:
        """Tell whether an owner was a process that has ended, or is of a machine that is silent; False if unknown."""
        key = f"owner:{owner}"
        told = json.loads(self.fact(key) or "{}")
        if _here(told):
            return not ProcessMark(int(told["pid"]), float(told["create_time"])).alive
        return bool(told) and self.fact(key, since=self.time() - OWNER_SILENT) is None

    def leads(self, role: str, holder: str, seconds: float) -> bool:
        """Ask to be the only one in a role, and to stay it for some seconds more; False if somebody else is.

        Args:
            role: What is done by one of many.
            holder: Who asks.
            seconds: How long the role is kept without another call; after that it is whoever's who asks first.
        """
        here = (leaders.c.environment == self.environment) & (leaders.c.role == role)

        def work(conn: Connection) -> bool:
            now = self.now(conn)
            values = {"holder": holder, "until": now + seconds}
            mine = here & ((leaders.c.holder == holder) | (leaders.c.until <= now))
            if conn.execute(update(leaders).where(mine).values(**values)).rowcount:
                return True
            if conn.scalar(select(leaders.c.holder).where(here)) is not None:
                return False
            conn.execute(insert(leaders).values(environment=self.environment, role=role, **values))
            return True

        return self.run(QUICK, work)


def _here(told: dict[str, Any]) -> bool:
    """Whether an owner is, or was, a process of this machine."""
    return told.get("host") == socket.gethostname()
