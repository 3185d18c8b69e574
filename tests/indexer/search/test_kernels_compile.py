"""Triton compiles the kernels for real GPUs without one: tensor cores, and 16-byte copies."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec

import pytest

COMPILE = """
import json, math, sys
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from indexer.search import kernels

def built(name, capability, form, code, everywhere=False):
    kernel = getattr(kernels, name)
    queries = "*fp32" if form == 0 else "*fp16"
    kinds = {"best": "*i64", "queries": "*fp32" if name == "rescore" else queries, "pointers": "*i64", "owners": "*i64",
             "groups": "*i32", "images": "*i32", "neighbours": "*i32", "names": "*i32", "weights": "*fp32",
             "similarities": "*fp32", "nearest_rows": "*i32", "nearest_cells": "*i32", "fused": "*fp32",
             "layers": "i32", "cells": "i32", "dim": "i32", "column_tiles": "i32", "together": "i32"}
    constants = {"FORMAT": form, "CODE": code, "ALIGNED": math.gcd(code, 16), "WIDTH": 9, "EVERYWHERE": everywhere,
                 "ROWS": 64, "COLUMNS": 16, "DEPTH": 64}
    signature = {n: kinds.get(n, "constexpr") for n in kernel.arg_names}
    given = {n: constants[n] for n in kernel.arg_names if n in constants}
    aligned = {(i,): [["tt.divisibility", 16]] for i, n in enumerate(kernel.arg_names) if n not in constants}
    return triton.compile(ASTSource(kernel, signature, given, aligned), target=GPUTarget("cuda", capability, 32))

capability = int(sys.argv[1])
found = {}
for form, code in ((0, 3072), (1, 1536), (2, 784), (3, 1536)):
    built("rescore", capability, form, code)
    built("max_similarity", capability, form, code, everywhere=True)
    search = built("max_similarity", capability, form, code)
    words = ("wgmma.mma_async", "mma.sync", "cp.async.cg", "cp.async.ca")
    found[form] = {word: search.asm["ptx"].count(word) for word in words} | {"shared": search.metadata.shared}
print(json.dumps(found))
"""


@pytest.mark.skipif(find_spec("triton") is None, reason="needs Triton")
@pytest.mark.parametrize(("capability", "products"), [(80, "mma.sync"), (90, "wgmma.mma_async")])
def test_the_search_kernel_reads_16_bytes_at_a_time_and_multiplies_on_tensor_cores(
    capability: int, products: str
) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    command = [sys.executable, "-c", COMPILE, str(capability)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)
    assert done.returncode == 0, done.stderr
    compiled = json.loads(done.stdout)
    fp16, int8, bf16 = compiled["1"], compiled["2"], compiled["3"]
    assert fp16["cp.async.cg"] > 0  # the only size of that instruction is 16 bytes
    assert fp16["cp.async.ca"] == 0
    assert int8["cp.async.cg"] > 0  # a device's codes begin at multiples of 16 bytes, whatever their length
    assert fp16[products] > 0
    assert int8[products] > 0
    assert bf16[products] > 0
    assert bf16["cp.async.ca"] == 0
    assert max(kernel["shared"] for kernel in compiled.values()) <= 48 << 10  # several programs on one multiprocessor
