"""The description of a product that the factory renders."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from clients.demo.scene import Scene

Make = Callable[[np.random.Generator], Scene]
Damage = Callable[[Scene, np.random.Generator], None]


@dataclass(frozen=True)
class Product:
    """One product: `make` renders a good instance, each of `defects` damages a scene in place."""

    name: str
    make: Make
    defects: Mapping[str, Damage]
    shift: float  # maximum offset under the camera, pixels of the photograph
    turn: float  # maximum rotation, degrees
