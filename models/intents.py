"""The four intents, and the weight of each kind of event: all such weights are here.

Values only. In the terms of the industry, *buy* is a conversion, *read* an engaged view, *look* a click, *ignore* an
impression without any of them.
"""

from typing import Literal

Intent = Literal["buy", "read", "look", "ignore"]

INTENTS = ("buy", "read", "look", "ignore")
"""The order of a scorer's columns."""

UTILITY: dict[Intent, float] = {"buy": 1.0, "read": 0.3, "look": 0.2, "ignore": 0.0}
"""The default weight of an intent in a ranking; the setting is ``policy.intent_weights``."""

INTENT_OF = {"purchase": "buy", "cart": "buy", "read": "read", "click": "look"}
"""The intent of each kind of outcome; an impression without one is ``ignore``."""

STRENGTH = {"": 0, "click": 1, "read": 2, "cart": 3, "purchase": 4}
"""Of several outcomes of one impression the strongest is its label; the empty kind is an impression."""

TREND_WEIGHTS = {"click": 1, "read": 1, "review": 1, "cart": 3, "purchase": 5}
"""The weight of an event in the trending counts."""

TOUCH_WEIGHTS = {"click": 0.6, "read": 0.7, "review": 0.5, "cart": 1.0, "purchase": 0.7}
"""Weight of an item in the context of a shopper who interacted with it, before decay. A purchase weighs less than an
item in the cart: a shopper seldom searches again for what was bought."""

QUERY_WEIGHT = 0.8
"""Weight of a query in the context of a shopper who searched it, before decay."""
