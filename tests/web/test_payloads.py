"""Files in JSON: what of it is taken out, refused, and found."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving import MADE
from serving import given as file

from codiff.errors import InputError
from codiff.web.payloads import MOST_VALUES, disarm, read_json, told_files

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)


def wrapped(inner: Any, path: list[int]) -> Any:
    """A value somewhere deep inside."""
    for step in path:
        inner = [None, inner] if step % 2 else {"a": 1, "b": inner}
    return inner


class TestDisarming:
    @given(JSON, st.lists(st.integers(0, 1), max_size=8), st.text(max_size=9))
    def test_foreign_paths_are_found_anywhere(self, value: Any, path: list[int], name: str) -> None:
        with pytest.raises(InputError, match="not one of yours"):
            disarm(wrapped([value, {"path": name}], path), lambda _: False, lambda _: True)

    @given(JSON, st.lists(st.integers(0, 1), max_size=8))
    def test_what_has_no_file_stays_as_it_is(self, value: Any, path: list[int]) -> None:
        whole = wrapped(value, path)
        before = copy.deepcopy(whole)
        if "'path'" not in repr(whole) and "'url'" not in repr(whole):
            disarm(whole, lambda _: False, lambda _: True)
            assert whole == before

    def test_addresses_and_streams_are_taken_out(self) -> None:
        value = {"data": [file("/own", url="http://10.0.0.1/", is_stream=True), {"url": "data:image/png;base64,"}]}
        disarm(value, lambda path: path == "/own", lambda _: True)
        assert value == {"data": [file("/own", url=None, is_stream=False), {"url": None}]}

    @pytest.mark.parametrize("value", ["/root/x", {"/root/x": 1}, [["a", "see /root/x"]]])
    def test_texts_may_name_no_other_s_files(self, value: Any) -> None:
        with pytest.raises(InputError, match="not one of yours"):
            disarm(value, lambda _: True, lambda text: "/root" not in text)


class TestFinding:
    def test_files_and_changes_of_files_are_told(self) -> None:
        value = {
            "output": {"data": [file("/a"), [{"image": file("/b"), "caption": None}], [["replace", ["path"], "/c"]]]}
        }
        assert sorted(told_files(value)) == ["/a", "/b", "/c"]

    def test_what_only_looks_like_one_is_not(self) -> None:
        for value in (
            {"path": "/a"},
            {"path": "/a", "meta": {}},
            ["replace", ["url"], "/a"],
            ["append", ["path"], "/a"],
        ):
            assert list(told_files(value)) == []
        assert list(told_files({"path": None, "meta": MADE})) == []


class TestReading:
    def test_values_are_read(self) -> None:
        assert read_json(b'{"a": [1, null, "\xc3\xbc"]}') == {"a": [1, None, "ü"]}

    @pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[" * 100_000, b"," * (MOST_VALUES + 1)])
    def test_others_are_refused(self, body: bytes) -> None:
        with pytest.raises(InputError):
            read_json(body)
