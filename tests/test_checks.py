"""Checks of what is installed."""

import json
import sys

import pytest

from orthobook._checks import optional


def test_optional_returns_a_module():
    assert optional("json") is json


def test_a_module_that_is_not_installed_is_named_with_its_cure(monkeypatch):
    monkeypatch.setitem(sys.modules, "pooch", None)
    with pytest.raises(ImportError, match=r'^pooch is not installed: pip install "orthobook\[book\]"$'):
        optional("pooch")
    with pytest.raises(ImportError, match=r'^pooch is not installed: pip install "orthobook\[dask\]"$'):
        optional("pooch", "dask")


def test_a_module_of_the_package_itself_is_no_option():
    with pytest.raises(ModuleNotFoundError, match=r"No module named 'orthobook\.nothing'"):
        optional("orthobook.nothing")
