"""Makes the seeds of the fuzz targets from the hives in ../../fixtures/hives. Python 3.11, standard library."""
import struct
from pathlib import Path

HERE = Path(__file__).resolve().parent
HIVES = HERE.parent.parent / "fixtures" / "hives"


def hive(name: str) -> bytes:
    return (HIVES / name).read_bytes()


def save(target: str, name: str, data: bytes) -> None:
    (HERE / target).mkdir(exist_ok=True)
    (HERE / target / name).write_bytes(data)


def seal(block: bytearray) -> bytearray:
    check = 0
    for (word,) in struct.iter_unpack("<I", block[:508]):
        check ^= word
    struct.pack_into("<I", block, 508, {0: 1, 0xFFFFFFFF: 0xFFFFFFFE}.get(check, check))
    return block


def old_log(primary: bytes, pages: list[int]) -> bytes:
    """A log of the old format that holds these 4096-byte pages of the hive."""
    base = bytearray(primary[:512])
    struct.pack_into("<II", base, 4, 17, 17)
    struct.pack_into("<I", base, 28, 1)
    bitmap = bytearray(struct.unpack_from("<I", primary, 40)[0] // 4096)
    for page in pages:
        bitmap[page] = 0xFF
    vector = (b"DIRT" + bitmap).ljust(512, b"\0")
    return bytes(seal(base)) + vector + b"".join(primary[4096 + 4096 * page:8192 + 4096 * page] for page in pages)


def replay(primary: bytes, first: bytes, second: bytes) -> bytes:
    return bytes([0, len(primary) // 512, len(first) // 512]) + primary + first + second


def main() -> None:
    edits = bytes([
        3,
        0x01, 2, 1, 2, 4, 7, 4, 0,       # a short value
        0x31, 1, 2, 3, 3, 9, 0x39, 0x40,  # a long one in new keys
        0x02, 1, 0, 1, 0, 0, 0, 0,       # a value is deleted
    ])
    for name in ("minimal-1.3", "minimal-1.5"):
        save("hive_parse", name, hive(name))
        save("hive_edit", name, edits + hive(name))
    save("hive_replay", "new", replay(hive("logged-1.5"), hive("logged-1.5.LOG1"), hive("logged-1.5.LOG2")))
    dirty = hive("dirty-1.5")
    save("hive_replay", "old", replay(dirty, old_log(dirty, [0]), b""))


if __name__ == "__main__":
    main()
