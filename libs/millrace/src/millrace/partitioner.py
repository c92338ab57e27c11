"""Which partition a key belongs to, as Java clients and librdkafka's `murmur2_random` decide it.

For whoever must know a key's partition without asking a producer: tests, tools, the command line. Source: `Utils.murmur2` and
`BuiltInPartitioner.partitionForKey` of Apache Kafka (MurmurHash 2 by Austin Appleby, 32 bits, seed 0x9747b28c).
"""

_SEED = 0x9747B28C
_M = 0x5BD1E995
_MASK = 0xFFFFFFFF


def murmur2(key: bytes) -> int:
    """Return the hash of a key as Java's `int`: 32 bits, signed."""
    length = len(key)
    h = _SEED ^ length
    whole = length - length % 4
    for start in range(0, whole, 4):
        k = int.from_bytes(key[start : start + 4], "little") * _M & _MASK
        k = (k ^ k >> 24) * _M & _MASK
        h = h * _M & _MASK ^ k
    if whole < length:
        h = (h ^ int.from_bytes(key[whole:], "little")) * _M & _MASK
    h = (h ^ h >> 13) * _M & _MASK
    h ^= h >> 15
    return h - (1 << 32) if h >> 31 else h


def partition_for(key: bytes, partitions: int) -> int:
    """Return the partition of a key among `partitions`, from 0. A record without a key has none: producers pick one at random.

    The sign bit is cleared, not negated: Kafka's `toPositive`.
    """
    return (murmur2(key) & 0x7FFFFFFF) % partitions
