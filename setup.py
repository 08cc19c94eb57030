"""Builds the compiled kernels; everything else about the package is in pyproject.toml.

The extension is optional: without a C compiler the package installs all the same and uses the Python twins, many times slower
(`smartconnect.kernels.IMPLEMENTATION` says which). Nothing beyond the platform's baseline CPU is assumed, so a wheel runs anywhere.
"""

from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup

KERNELS = Path("src/smartconnect/kernels")

setup(
    ext_modules=cythonize(
        [
            Extension(
                "smartconnect.kernels._compiled",
                [str(KERNELS / "_compiled.pyx")],
                depends=[str(path) for path in sorted(KERNELS.glob("*.pxi"))],
                extra_compile_args=["-O3"],
                optional=True,
            )
        ],
        compiler_directives={"language_level": "3"},
    )
)
