"""Makes the seeds of the fuzz targets; those of hives from ../../fixtures/hives. Python 3.11, standard library."""
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


def vhd(kind: int, tables: bytes) -> bytes:
    """A VHD of 2 MiB; the target makes the checksums."""
    footer = struct.pack(">8sIIQI4sI4sQQHBBII16sB427x", b"conectix", 2, 0x10000, 512, 0, b"win ", 0xA0000, b"Wi2k",
                         2 << 20, 2 << 20, 60, 4, 17, kind, 0, b"I" * 16, 0)
    header = struct.pack(">8sQQIII", b"cxsparse", 2**64 - 1, 1536, 0x10000, 4, 512 << 10).ljust(1024, b"\0")
    return footer + header + tables + footer


def guid(text: str) -> bytes:
    import uuid
    return uuid.UUID(text).bytes_le


def vhdx() -> bytes:
    head = struct.pack("<4s4xQ48xHHIQ", b"head", 9, 0, 1, 1 << 20, 1 << 20)
    regions = struct.pack("<4s4xQ", b"regi", 2)
    for name, at in (("2dc27766-f623-4200-9d64-115e9bfd4a08", 3), ("8b7ca206-4790-4b9a-b8fe-575f050f886e", 2)):
        regions += guid(name) + struct.pack("<QII", at << 20, 1 << 20, 1)
    items = [("caa16737-fa36-4d43-b3b6-33f0aa44e76b", 0, 8, 4), ("2fa54224-cd1b-4876-b211-5dbed83bf4b8", 8, 8, 6),
             ("beca12ab-b2e6-4523-93ef-c309e000c746", 16, 16, 6), ("8141bf1d-a96f-4709-ba47-f233a8faab5f", 32, 4, 6),
             ("cda348c7-445d-4471-9cc9-e9885251c556", 40, 4, 6)]
    table = struct.pack("<8s2xH20x", b"metadata", len(items))
    for name, at, length, flags in items:
        table += guid(name) + struct.pack("<IIII", 65536 + at, length, flags, 0)
    values = struct.pack("<IIQ16sIIII", 2 << 20, 0, 5 << 20, b"D" * 16, 512, 0, 512, 0)
    blocks = struct.pack("<QQQ", 4 << 20 | 6, 2, 6 << 20 | 6)
    return head + regions.ljust(112, b"\0") + table.ljust(256, b"\0") + values.ljust(64, b"\0") + blocks


def vhdx_log() -> bytes:
    size = 8 << 20
    descriptors = struct.pack("<4s4s8sQQ", b"desc", b"t" * 4, b"l" * 8, 4 << 20, 5)
    descriptors += struct.pack("<4s4xQQQ", b"zero", 4096, 6 << 20, 5)
    head = struct.pack("<4sIIIQII16sQQ", b"loge", 0, 8192, 0, 5, 2, 0, b"\7" * 16, size, size)
    return (head + descriptors).ljust(4096, b"\0") + struct.pack("<4sI4084sI", b"data", 0, b"p" * 4084, 5)


def vmdk() -> bytes:
    text = b'# Disk DescriptorFile\nversion=1\nparentCID=ffffffff\ncreateType="monolithicSparse"\nRW 256 SPARSE "x"\n'
    head = struct.pack("<4sIIQQQQIQQQB4sH", b"KDMV", 1, 3, 256, 128, 1, 1, 512, 0, 2, 7, 0, b"\n \r\n", 0)
    directory = struct.pack("<I", 3).ljust(512, b"\0")
    grains = struct.pack("<II", 7, 0).ljust(2048, b"\0")
    return head.ljust(512, b"\0") + text.ljust(512, b"\0") + directory + grains + b"g" * 65536


def gpt() -> bytes:
    protective = bytes(446) + struct.pack("<B3xB3xII", 0, 0xEE, 1, 127) + bytes(48) + b"\x55\xaa"
    head = struct.pack("<8sIIIIQQQQ16sQIII", b"EFI PART", 0x10000, 92, 0, 0, 1, 127, 34, 94, b"D" * 16, 2, 128, 128, 0)
    entry = guid("ebd0a0a2-b9e5-4433-87c0-68b6b72699c7") + b"P" * 16 + struct.pack("<QQQ", 64, 90, 0)
    return (protective + head.ljust(512, b"\0") + entry).ljust(128 * 512, b"\0")


def main() -> None:
    save("vhd", "dynamic", vhd(3, b"\xff" * 512))
    save("vhd", "differencing", vhd(4, b"\xff" * 512))
    save("vhdx", "dynamic", vhdx())
    save("vhdx_log", "entry", vhdx_log())
    save("vmdk", "sparse", vmdk())
    save("vmdk", "text", b'# Disk DescriptorFile\nparentCID=ffffffff\ncreateType="monolithicFlat"\nRW 8 FLAT "x" 0\nRW 8 ZERO\n')
    save("partition", "gpt", gpt())
    save("partition", "mbr", bytes(446) + struct.pack("<B3xB3xII", 128, 7, 1, 7) + bytes(48) + b"\x55\xaa" + bytes(3584))
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
