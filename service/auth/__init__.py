"""Who may do what: API keys, the roles that routes need, and limits on how often a key may ask."""

from service.auth.access_control import AccessControl
from service.auth.api_key_cache import KeyRing, NewKey, new_key
from service.auth.roles import RULES, Role

__all__ = ["RULES", "AccessControl", "KeyRing", "NewKey", "Role", "new_key"]
