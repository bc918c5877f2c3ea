"""All recipes by their names. Another profile is another module here, and its name in `verify.PROFILES`."""

from __future__ import annotations

from typing import Final

from . import ascii_payload, offset_time, whole_event
from .foreign import Recipe

RECIPES: Final[dict[str, Recipe]] = {
    module.RECIPE.name: module.RECIPE for module in (ascii_payload, offset_time, whole_event)
}
