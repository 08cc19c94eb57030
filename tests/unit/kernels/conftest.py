"""One suite, two implementations: a test that asks for `kernel` runs compiled and in Python."""

from __future__ import annotations

from types import ModuleType, SimpleNamespace

import pytest

from smartconnect import kernels
from smartconnect.kernels import twin_join, twin_walk

TWIN = SimpleNamespace(walk=twin_walk.walk, join=twin_join.join)


def compiled_module() -> ModuleType:
    """The extension. It is optional for users, but half of this suite is about it: without it nothing here is proven."""
    if not kernels.COMPILED_AVAILABLE:
        raise RuntimeError("the compiled kernels were not built: half of this suite cannot run")
    from smartconnect.kernels import _compiled

    return _compiled


def pytest_report_header() -> str:
    return f"kernels in use: {kernels.IMPLEMENTATION}"


@pytest.fixture(params=["compiled", "python"], scope="session")
def kernel(request: pytest.FixtureRequest) -> ModuleType | SimpleNamespace:
    """`walk` and `join` of one implementation."""
    return TWIN if request.param == "python" else compiled_module()
