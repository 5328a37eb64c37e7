"""Envelopes open for what they belong to, unchanged, and for nothing else."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.adapters.vault.vaults import ring_text

from perpdesk.adapters.vault.master_key import EnvironmentSource, KeyRing, parse_ring
from perpdesk.adapters.vault.sealing import Belonging, Envelope, seal, unseal
from perpdesk.domain.errors import NeedsPerson, Refused

MINE = Belonging(user_id=1, account_id=2, exchange="binance", key_version=3, name="main")


def ring(*ids: str) -> KeyRing:
    return KeyRing(parse_ring(ring_text(*ids), "test"), EnvironmentSource({}))


@given(st.binary(max_size=5_000))
def test_what_is_sealed_comes_back(content: bytes) -> None:
    keys = ring("k1")
    envelope = seal(keys.newest, MINE, content)
    assert unseal(keys, MINE, envelope) == content
    assert len(content) < 8 or content not in envelope.box + envelope.data_key_box


def test_nothing_repeats() -> None:
    keys = ring("k1")
    one, other = (seal(keys.newest, MINE, b"the same") for _ in range(2))
    assert one.box != other.box
    assert one.data_key_box != other.data_key_box
    assert one.data_key_box[:12] != other.data_key_box[:12]  # one master key must never see a nonce twice
    assert one.box[:12] != other.box[:12]
    with pytest.raises(NeedsPerson):  # the data keys differ, too
        unseal(keys, MINE, dataclasses.replace(one, data_key_box=other.data_key_box))


@pytest.mark.parametrize(
    "other",
    [
        dataclasses.replace(MINE, user_id=2),
        dataclasses.replace(MINE, account_id=1),
        dataclasses.replace(MINE, exchange="simulated"),
        dataclasses.replace(MINE, key_version=4),
        dataclasses.replace(MINE, name="other"),
    ],
)
def test_another_row_does_not_open(other: Belonging) -> None:
    keys = ring("k1")
    with pytest.raises(NeedsPerson, match="does not open"):
        unseal(keys, other, seal(keys.newest, MINE, b"x"))


def test_parts_do_not_run_into_each_other() -> None:
    one, other = (Belonging(user, account, "binance", 1, "n") for user, account in ((1, 23), (12, 3)))
    assert one.bound(b"p") != other.bound(b"p")
    one, other = (Belonging(1, 1, exchange, version, "n") for exchange, version in (("x1", 2), ("x", 12)))
    assert one.bound(b"p") != other.bound(b"p")


@given(
    st.tuples(
        st.integers(0, 99), st.integers(0, 99), st.text(max_size=4), st.integers(0, 99), st.text(max_size=4)
    ),
    st.tuples(
        st.integers(0, 99), st.integers(0, 99), st.text(max_size=4), st.integers(0, 99), st.text(max_size=4)
    ),
)
def test_no_two_belongings_are_bound_alike(one: tuple, other: tuple) -> None:
    """1 and 23 is not 12 and 3."""
    assert (Belonging(*one).bound(b"p") == Belonging(*other).bound(b"p")) == (one == other)


@given(st.data())
def test_a_changed_bit_does_not_open(data: st.DataObject) -> None:
    keys = ring("k1")
    envelope = seal(keys.newest, MINE, b"content")
    field = data.draw(st.sampled_from(["box", "data_key_box"]))
    raw = bytearray(getattr(envelope, field))
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(NeedsPerson):
        unseal(keys, MINE, dataclasses.replace(envelope, **{field: bytes(raw)}))


@pytest.mark.parametrize("cut", [0, 5, 12, 20])
def test_a_cut_box_does_not_open(cut: int) -> None:
    keys = ring("k1")
    envelope = seal(keys.newest, MINE, b"content")
    with pytest.raises(NeedsPerson):
        unseal(keys, MINE, dataclasses.replace(envelope, box=envelope.box[:cut]))
    with pytest.raises(NeedsPerson):
        unseal(keys, MINE, dataclasses.replace(envelope, data_key_box=envelope.data_key_box[:cut]))


def test_any_key_of_the_ring_opens_and_the_newest_seals() -> None:
    old = seal(ring("k1").newest, MINE, b"x")
    both = ring("k1", "k2")
    assert unseal(both, MINE, old) == b"x"
    assert seal(both.newest, MINE, b"x").key_id == "k2"
    with pytest.raises(Refused, match="sealed with master key 'k1'.*has only k2"):
        unseal(ring("k2"), MINE, old)


def test_another_key_of_the_same_name_does_not_open() -> None:
    envelope = seal(ring("k1").newest, MINE, b"x")
    other = parse_ring("k1:" + ring_text("k9").partition(":")[2], "test")
    with pytest.raises(NeedsPerson, match="another key of that name"):
        unseal(KeyRing(other, EnvironmentSource({})), MINE, envelope)


def test_an_envelope_cannot_be_relabelled() -> None:
    """The master key's id is bound to the data key."""
    same_key_twice = parse_ring(ring_text("k1") + "k2:" + ring_text("k1").partition(":")[2], "test")
    keys = KeyRing(same_key_twice, EnvironmentSource({}))
    envelope = seal(keys.newest, MINE, b"x")
    with pytest.raises(NeedsPerson):
        unseal(keys, MINE, Envelope("k1", envelope.data_key_box, envelope.box))
