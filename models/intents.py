"""The four intents, and what each kind of event is worth: the one place of all such weights.

Values only. Documented names beside those of the industry: *buy* is a conversion, *read* an engaged view, *look* a
click, *ignore* an impression without any of them.
"""

from typing import Literal

Intent = Literal["buy", "read", "look", "ignore"]

INTENTS = ("buy", "read", "look", "ignore")
"""The order of a scorer's columns."""

UTILITY: dict[Intent, float] = {"buy": 1.0, "read": 0.3, "look": 0.2, "ignore": 0.0}
"""What an intent is worth in a ranking, unless the settings (``policy.intent_weights``) say otherwise."""

INTENT_OF = {"purchase": "buy", "cart": "buy", "read": "read", "click": "look"}
"""The intent of each kind of outcome; an impression without one is ``ignore``."""

STRENGTH = {"": 0, "click": 1, "read": 2, "cart": 3, "purchase": 4}
"""Of several outcomes of one impression the strongest is its label; the empty kind is an impression."""

TREND_WEIGHTS = {"click": 1, "read": 1, "review": 1, "cart": 3, "purchase": 5}
"""What an event counts for in what is popular."""

TOUCH_WEIGHTS = {"click": 0.6, "read": 0.7, "review": 0.5, "cart": 1.0, "purchase": 0.7}
"""Weight of an item in the context of a shopper who acted upon it, before it decays. A purchase weighs less than an
item in the cart: what is bought is seldom looked for again."""

QUERY_WEIGHT = 0.8
"""Weight of a query in the context of a shopper who asked it, before it decays."""
