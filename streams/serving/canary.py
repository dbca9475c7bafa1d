"""The editions that answer some of the shoppers beside the champion: the challenger on trial, and the one held back.

Loads them and hands them to the arms. Knows nothing of how a trial goes: that is concluded elsewhere, from clicks.
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
    """Follows what the challenger's slot says.

    Parameters
    ----------
    arms
        Who answers.
    lost
        Told of a version that cannot be loaded, and why; returns whether it may be loaded later. The champion goes on
        without it.

    Attributes
    ----------
    challenger
        What the slot holds.
    held_back
        The version that a share of the shoppers keeps; None where there is no such share.
    """

    def __init__(self, editions: ModelCache, arms: Arms, lost: Callable[[str, Exception], bool]) -> None:
        self.editions, self.arms, self.lost = editions, arms, lost
        self.challenger: Promotion | None = None
        self.held_back: str | None = None
        self._recommender: Recommender | None = None
        self._loading: asyncio.Task[None] | None = None

    @property
    def ready(self) -> bool:
        """Whether the challenger can answer."""
        return self._recommender is not None

    @property
    def share(self) -> float:
        """The share of the shoppers whom the challenger answers now."""
        return self.challenger.share if self.challenger is not None and self.ready else 0.0

    def update(self, challenger: Promotion | None, group: asyncio.TaskGroup) -> None:
        """Take what the slot holds now. A challenger that is another is loaded in the group, and then on trial."""
        before, self.challenger = self.challenger, challenger
        if challenger == before:
            return
        if challenger is not None and before is not None and challenger.version == before.version:
            if self.ready:
                self._challenge()
            return
        if self._loading is not None:
            self._loading.cancel()
            self._loading = None
        self._recommender = None
        self.arms.challenge(None)
        if challenger is None:
            log.warning("there is no challenger any more")
        else:
            self._loading = group.create_task(self._load(challenger.version))

    async def hold_back(self, model: ModelConfig) -> None:
        """Let the settings' share of the shoppers keep the settings' version."""
        name = model.holdback_version or UNTRAINED

        async def ready() -> LoadedModel:
            self.held_back = await asyncio.to_thread(ModelStore(model.store).find, name) if name else UNTRAINED
            return await self.editions.ready(self.held_back)

        edition = await retry(ready, partial(self.lost, name))
        if edition is None:
            self.held_back = None
            return
        self.arms.hold_back(self._recommend(edition, HOLDBACK), model.holdback_share)
        log.warning("%s stays for %.1f %% of the shoppers", edition.name, 100 * model.holdback_share)

    async def _load(self, version: str) -> None:
        edition = await retry(partial(self.editions.ready, version), partial(self.lost, version))
        if edition is None:
            return
        self._recommender = self._recommend(edition, CANARY)
        self._challenge()

    def _challenge(self) -> None:
        assert self.challenger is not None
        version, share = self.challenger.version, self.challenger.share
        self.arms.challenge(self._recommender, share, version)
        log.warning("%s challenges, for %.1f %% of the shoppers", version, 100 * share)

    def _recommend(self, edition: LoadedModel, arm: str) -> Recommender:
        usual = self.arms.champion
        return Recommender(edition.catalogue, edition.scorer, usual.trending, usual.config, arm, edition.queries)
