"""The models that serve a share of the shoppers beside the champion: the challenger in a canary, and the holdback.

Loads them and passes them to the arms. Knows nothing of a canary's result: that is decided elsewhere, from clicks.
"""

import asyncio
import logging
from collections.abc import Callable
from functools import partial

from models.store import ModelStore
from models.store.slots import Promotion
from streams.config import ModelConfig
from streams.ranking.arms import Arms
from streams.ranking.assignment import CANARY, HOLDBACK
from streams.ranking.recommender import Recommender
from streams.runtime.tasks import retry
from streams.serving.loaded_model import LoadedModel
from streams.serving.loader import ModelCache
from streams.serving.slots import UNTRAINED

log = logging.getLogger(__name__)


class CanaryController:
    """Follows the challenger's slot.

    Parameters
    ----------
    arms
        Where the loaded models serve.
    on_failure
        Called with a version that cannot be loaded and the error; returns whether it may be loaded later. The champion
        serves meanwhile.

    Attributes
    ----------
    challenger
        What the slot holds.
    held_back
        The version that serves the holdback share of the shoppers; None if there is no such share.
    """

    def __init__(self, cache: ModelCache, arms: Arms, on_failure: Callable[[str, Exception], bool]) -> None:
        self.cache, self.arms, self.on_failure = cache, arms, on_failure
        self.challenger: Promotion | None = None
        self.held_back: str | None = None
        self._recommender: Recommender | None = None
        self._loading: asyncio.Task[None] | None = None

    @property
    def ready(self) -> bool:
        """Whether the challenger is loaded and can serve."""
        return self._recommender is not None

    @property
    def share(self) -> float:
        """The share of the shoppers that the challenger serves now."""
        return self.challenger.share if self.challenger is not None and self.ready else 0.0

    def update(self, challenger: Promotion | None, group: asyncio.TaskGroup) -> None:
        """Apply what the slot holds now. A new challenger is loaded in the group, then its canary starts."""
        before, self.challenger = self.challenger, challenger
        if challenger == before:
            return
        if challenger is not None and before is not None and challenger.version == before.version:
            if self.ready:
                self._start_canary()
            return
        if self._loading is not None:
            self._loading.cancel()
            self._loading = None
        self._recommender = None
        self.arms.set_canary(None)
        if challenger is None:
            log.warning("there is no challenger any more")
        else:
            self._loading = group.create_task(self._load(challenger.version))

    async def hold_back(self, model: ModelConfig) -> None:
        """Serve the settings' holdback share of the shoppers with the settings' holdback version."""
        name = model.holdback_version or UNTRAINED

        async def ready() -> LoadedModel:
            self.held_back = await asyncio.to_thread(ModelStore(model.store).find, name) if name else UNTRAINED
            return await self.cache.ready(self.held_back)

        loaded = await retry(ready, partial(self.on_failure, name))
        if loaded is None:
            self.held_back = None
            return
        self.arms.set_holdback(self._recommend(loaded, HOLDBACK), model.holdback_share)
        log.warning("%s stays for %.1f %% of the shoppers", loaded.name, 100 * model.holdback_share)

    async def _load(self, version: str) -> None:
        loaded = await retry(partial(self.cache.ready, version), partial(self.on_failure, version))
        if loaded is None:
            return
        self._recommender = self._recommend(loaded, CANARY)
        self._start_canary()

    def _start_canary(self) -> None:
        assert self.challenger is not None
        version, share = self.challenger.version, self.challenger.share
        self.arms.set_canary(self._recommender, share, version)
        log.warning("%s is the challenger, for %.1f %% of the shoppers", version, 100 * share)

    def _recommend(self, loaded: LoadedModel, arm: str) -> Recommender:
        champion = self.arms.champion
        return Recommender(
            loaded.catalogue,
            loaded.scorer,
            champion.trending,
            champion.config,
            arm,
            loaded.queries,
            champion.behaviour,
            loaded.feeds,
        )
