import ctypes
from collections.abc import Callable
from pathlib import Path

import confluent_kafka
import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.partitioner import murmur2, partition_for

# From Apache Kafka's own UtilsTest.testMurmur2.
JAVA = {
    b"21": -973932308,
    b"foobar": -790332482,
    b"a-little-bit-long-string": -985981536,
    b"a-little-bit-longer-string": -1486304829,
    b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
    b"abc": 479470107,
}


@pytest.fixture(scope="module")
def librdkafka() -> Callable[[bytes, int], int]:
    """librdkafka's own murmur2_random, as the installed client ships it."""
    (path,) = (Path(confluent_kafka.__file__).parent.parent / "confluent_kafka.libs").glob("librdkafka-*.so*")
    function = ctypes.CDLL(str(path)).rd_kafka_msg_partitioner_murmur2_random
    function.restype = ctypes.c_int32
    function.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_int32, ctypes.c_void_p, ctypes.c_void_p]
    return lambda key, partitions: int(function(None, key, len(key), partitions, None, None))


@pytest.mark.parametrize(("key", "expected"), JAVA.items())
def test_the_hash_is_what_kafkas_own_test_expects(key: bytes, expected: int) -> None:
    assert murmur2(key) == expected


def test_a_negative_hash_loses_its_sign_bit_and_is_not_negated() -> None:
    assert murmur2(b"21") == -973932308
    assert partition_for(b"21", 50) == (-973932308 & 0x7FFFFFFF) % 50 == 40
    assert abs(-973932308) % 50 == 8


@given(key=st.binary(max_size=64), partitions=st.integers(1, 1000))
def test_every_key_goes_where_librdkafka_sends_it(librdkafka: Callable[[bytes, int], int], key: bytes, partitions: int) -> None:
    assert partition_for(key, partitions) == librdkafka(key, partitions)


@given(key=st.text(max_size=40))
def test_text_of_any_script_goes_where_librdkafka_sends_it(librdkafka: Callable[[bytes, int], int], key: str) -> None:
    assert partition_for(key.encode(), 6) == librdkafka(key.encode(), 6)
