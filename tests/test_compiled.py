"""Kernels are compiled with a cache where a folder for it can be written, and without one elsewhere."""

from numba.core.caching import CacheImpl

from epsball.compiled import compiled


def double(number):
    return 2 * number


def test_without_a_folder_for_the_cache_kernels_are_compiled_all_the_same(monkeypatch):
    monkeypatch.setattr(CacheImpl, "_locator_classes", [])
    assert compiled()(double)(21) == 42
