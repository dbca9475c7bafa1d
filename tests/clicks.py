"""Shoppers who see shelves and click at rates that change: what makes a click rate's alert fire and go away."""

import json
import random
from collections.abc import Sequence

START = 1_750_000_000_000


def browsing(phases: Sequence[tuple[float, int]], start: int = START, seed: int = 5) -> list[tuple[str, bytes]]:
    """Events with their keys: in each phase so many visits, a second apart, of five items, each clicked at a rate."""
    chance = random.Random(seed)
    records, ts = [], start
    for rate, count in phases:
        for _ in range(count):
            ts, user, name = ts + 1_000, f"u{chance.randrange(300)}", f"v{ts}"
            items = [f"i{item}" for item in chance.sample(range(100), 5)]
            shown = [{"item_id": item, "position": place} for place, item in enumerate(items)]
            base = {"user_id": user, "ts": ts, "shelf_id": name}
            records.append((user, base | {"type": "impression", "event_id": name, "surface": "feed", "items": shown}))
            for item in items:
                if chance.random() < rate:
                    click = {"type": "click", "event_id": f"{name}{item}", "item_id": item}
                    records.append((user, base | click | {"ts": ts + 500}))
    return [(user, json.dumps(event).encode()) for user, event in records]
