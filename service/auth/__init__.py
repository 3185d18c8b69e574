"""Authentication and authorisation: API keys, the roles that routes require, and rate limits."""

from service.auth.api_key_cache import ApiKeyCache, NewApiKey, generate_api_key
from service.auth.roles import ROUTE_ROLES, Role

__all__ = ["ROUTE_ROLES", "ApiKeyCache", "NewApiKey", "Role", "generate_api_key"]
