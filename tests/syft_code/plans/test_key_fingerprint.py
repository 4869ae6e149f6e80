"""Words for keys: 96 bits of them, and a slip of the tongue is another fingerprint."""

from hypothesis import given
from hypothesis import strategies as st

from syft_code.plans import key_fingerprint

KEY, OTHER = "ab" * 32, "cd" * 32


def test_both_lists_have_a_word_for_every_byte_and_share_none() -> None:
    even, odd = key_fingerprint._EVEN.split(), key_fingerprint._ODD.split()
    assert len({*even, *odd}) == 512
    assert (even[0], even[255], odd[0], odd[255]) == ("aardvark", "zulu", "adroitness", "yucatan")


def test_bytes_are_spelled_as_the_list_spells_them() -> None:
    data = bytes.fromhex("E58294F2E9A227486E8B061B31CC528FD7FA3F19")  # Wikipedia: PGP word list
    assert key_fingerprint.spelled(data) == (
        "topmost istanbul pluto vagabond treadmill pacific brackish dictator goldfish medusa "
        "afflict bravado chatter revolver dupont midsummer stopwatch whimsical cowbell bottomless"
    )


def test_words_are_of_all_the_keys_in_their_order() -> None:
    words = key_fingerprint.words(KEY, OTHER)
    assert len(words.split()) == 12 and 8 * key_fingerprint.BYTES >= 80
    assert (
        len(
            {
                words,
                key_fingerprint.words(OTHER, KEY),
                key_fingerprint.words(KEY),
                key_fingerprint.words(KEY + OTHER),
            }
        )
        == 4
    )


@given(st.integers(0, 255))
def test_one_changed_bit_of_a_key_changes_nearly_every_word(bit: int) -> None:
    changed = f"{int(KEY, 16) ^ 1 << bit:064x}"
    before, after = (key_fingerprint.words(key).split() for key in (KEY, changed))
    assert sum(a != b for a, b in zip(before, after, strict=True)) >= 10


def test_what_was_heard_is_read_however_it_is_typed() -> None:
    words = key_fingerprint.words(KEY)
    assert key_fingerprint.written(words.title().replace(" ", ",\n ")) == words
    assert key_fingerprint.written(" ".join(words.split()[1:])) != words
