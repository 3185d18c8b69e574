"""The role that each route requires. A test holds this table against every route."""

from __future__ import annotations

from enum import IntEnum

from starlette.routing import compile_path


class Role(IntEnum):
    """Each role may do what those before it may. EVERYONE needs no key."""

    EVERYONE = 0
    LINE = 1
    OPERATOR = 2
    ENGINEER = 3
    ADMIN = 4

    @property
    def word(self) -> str:
        """As it is written in commands, answers and the catalogue."""
        return self.name.lower()


KEY_ROLES = (Role.LINE, Role.OPERATOR, Role.ENGINEER, Role.ADMIN)

ROUTE_ROLES: dict[tuple[str, str], Role] = {
    ("GET", "/healthz"): Role.EVERYONE,
    ("GET", "/readyz"): Role.EVERYONE,
    # Prometheus scrapes it from inside; the reverse proxy does not pass it on.
    ("GET", "/metrics"): Role.EVERYONE,
    # Pages that hold no data: what they show they ask for with the key that the reader gives them.
    ("GET", "/"): Role.EVERYONE,
    ("GET", "/operator"): Role.EVERYONE,
    ("GET", "/docs"): Role.EVERYONE,
    ("GET", "/openapi.json"): Role.EVERYONE,
    ("GET", "/console"): Role.EVERYONE,
    ("GET", "/console/{path:path}"): Role.EVERYONE,
    # How one comes by a key in the first place.
    ("GET", "/sign-in"): Role.EVERYONE,
    ("GET", "/sign-in/start"): Role.EVERYONE,
    ("POST", "/session"): Role.EVERYONE,
    ("DELETE", "/session"): Role.LINE,
    ("POST", "/detect"): Role.LINE,
    ("GET", "/access"): Role.LINE,
    ("GET", "/version"): Role.LINE,
    ("GET", "/categories"): Role.LINE,
    ("GET", "/categories/{name}"): Role.LINE,
    # The line agent's key is a line's.
    ("PUT", "/stations/{name}"): Role.LINE,
    ("PUT", "/stations/{name}/frame"): Role.LINE,
    ("GET", "/stations"): Role.OPERATOR,
    ("GET", "/stations/{name}/frame"): Role.OPERATOR,
    # What became of parts, why, and what a person says of it.
    ("GET", "/inspections"): Role.OPERATOR,
    ("GET", "/inspections/trend"): Role.OPERATOR,
    ("GET", "/inspections/pareto"): Role.OPERATOR,
    ("GET", "/inspections/report"): Role.OPERATOR,
    ("GET", "/inspections/stream"): Role.OPERATOR,
    ("GET", "/inspections/dataset.zip"): Role.ENGINEER,
    ("GET", "/inspections/{inspection_id}"): Role.OPERATOR,
    ("GET", "/inspections/{inspection_id}/map.png"): Role.OPERATOR,
    ("GET", "/inspections/{inspection_id}/heat.png"): Role.OPERATOR,
    ("GET", "/inspections/{inspection_id}/image"): Role.OPERATOR,
    ("POST", "/inspections/{inspection_id}/feedback"): Role.OPERATOR,
    ("GET", "/references/{reference_id}/image"): Role.OPERATOR,
    ("GET", "/keys"): Role.ADMIN,
    ("POST", "/keys"): Role.ADMIN,
    ("DELETE", "/keys/{key_id}"): Role.ADMIN,
    ("GET", "/audit"): Role.ADMIN,
}

# What is not listed is an engineer's: onboarding and settings. A new route is never open by oversight.
DEFAULT = Role.ENGINEER

_PATTERNS = [(method, compile_path(path)[0], role) for (method, path), role in ROUTE_ROLES.items()]


def required_role(method: str, path: str) -> Role:
    """The role that a request needs."""
    requested = "GET" if method == "HEAD" else method
    return next((role for verb, pattern, role in _PATTERNS if verb == requested and pattern.match(path)), DEFAULT)
