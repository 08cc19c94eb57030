"""One suite, two implementations: a test that asks for `kernel` runs compiled and in Python."""

from __future__ import annotations

import os
from types import ModuleType, SimpleNamespace

import pytest

from smartconnect import kernels
from smartconnect.kernels import twin_join, twin_walk

TWIN = SimpleNamespace(walk=twin_walk.walk, join=twin_join.join)


def compiled_module() -> ModuleType | None:
    """The extension, or None where it was not built. It is optional for users; CI (variable `CI`) vouches for both halves of the suite,
    so there its absence is an error."""
    if not kernels.COMPILED_AVAILABLE:
        if os.environ.get("CI"):
            raise RuntimeError("the compiled kernels were not built: half of this suite cannot run")
        return None
    from smartconnect.kernels import _compiled

    return _compiled


def pytest_report_header() -> str:
    built = "compiled and python" if kernels.COMPILED_AVAILABLE else "python only (the extension is not built)"
    return f"kernels: {built}; in use: {kernels.IMPLEMENTATION}"


@pytest.fixture(params=["compiled", "python"], scope="session")
def kernel(request: pytest.FixtureRequest) -> ModuleType | SimpleNamespace:
    """`walk` and `join` of one implementation."""
    if request.param == "python":
        return TWIN
    module = compiled_module()
    if module is None:
        pytest.skip("the extension is not built")
    return module
