"""Who may do what: API keys, the roles that routes need, and limits on how often a key may ask."""

from service.access.control import AccessControl
from service.access.keyring import KeyRing, NewKey, new_key
from service.access.roles import RULES, Role

__all__ = ["RULES", "AccessControl", "KeyRing", "NewKey", "Role", "new_key"]
