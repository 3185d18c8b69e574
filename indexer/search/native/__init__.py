"""The compiled patch search (`patch_search.c`): its functions, and which instruction sets it can use here."""

from __future__ import annotations

import ctypes
from enum import IntEnum
from functools import cache
from importlib.util import find_spec

_EXTENSION = f"{__name__}._patch_search"  # built by setup from the files beside this one, where there is a compiler


class InstructionSet(IntEnum):
    """An instruction set that the search was compiled for; its bit in what `instruction_sets` returns."""

    AVX2 = 1
    AVX512_VNNI = 2


class Search(ctypes.Structure):
    """`struct search`, whose fields are described there; pointers as addresses."""

    _fields_ = (
        *((name, ctypes.c_int64) for name in ("codec", "references", "layers", "cells", "dim", "padded", "code_size")),
        *((name, ctypes.c_int64) for name in ("width", "selections")),
        *((name, ctypes.c_void_p) for name in ("codes", "queries", "levels", "neighbours", "members")),
    )


@cache
def library() -> ctypes.CDLL | None:
    """The compiled functions; None where they were not built."""
    spec = find_spec(_EXTENSION)
    if spec is None or spec.origin is None:
        return None
    library = ctypes.CDLL(spec.origin)  # its calls release the interpreter's lock
    search, place, address = ctypes.POINTER(Search), ctypes.c_int64, ctypes.c_void_p
    library.search_cells.argtypes = (ctypes.c_int, search, place, place, address, address)
    library.search_everywhere.argtypes = library.search_cells.argtypes
    library.quantise.argtypes = (search, place, place, address)
    library.rescore.argtypes = (search, place, place, address, address)
    library.quantise.restype = library.rescore.restype = None
    return library


def instruction_sets() -> tuple[InstructionSet, ...]:
    """Those that both this processor and the compiled search have, the fastest last; none where it was not built."""
    functions = library()
    if functions is None:
        return ()
    bits = functions.instruction_sets()
    return tuple(instructions for instructions in InstructionSet if bits & instructions)
