"""Writer of small LHA archives: headers of level 0, 1 and 2, members stored (-lh0-) or coded as literals alone (-lh5-); no matches.

    packed({"a.exe": data}, level=1, method="lh0" | "lh5") -> bytes
The header forms are those of LHA for UNIX's header.doc.ja. Dates are fixed.
"""
import struct

UNIX_TIME, DOS_TIME = 1704110400, 0x58216000     # 2024-01-01 12:00


def crc16(data, value=0):
    """CRC-16/ARC."""
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = (value >> 1) ^ (0xA001 if value & 1 else 0)
    return value


def literals(data):
    """-lh5-: blocks in which every literal has the 8-bit code that is its value and nothing else has a code."""
    text = ""
    for at in range(0, len(data), 0xFFFF):
        part = data[at:at + 0xFFFF]
        # The code for lengths has one symbol (10: length 8) of no bits; so the 256 lengths that follow take none. No offsets.
        text += format(len(part), "016b") + "00000" + "01010" + format(256, "09b") + "0000" + "0000"
        text += "".join(format(byte, "08b") for byte in part)
    return bytes(int(text[at:at + 8].ljust(8, "0"), 2) for at in range(0, len(text), 8))


def _header(name, data, body, level, method):
    tag, raw, crc = b"-" + method.encode() + b"-", name.encode(), crc16(data)
    if level == 2:
        extra = struct.pack("<HB", 3 + len(raw), 1) + raw
        size = 26 + 5 + len(extra)
        size += size % 256 == 0
        head = struct.pack("<H", size) + tag + struct.pack("<IIIBBHB", len(body), len(data), UNIX_TIME, 0x20, 2, crc, ord("U"))
        head += struct.pack("<HBH", 5, 0, 0) + extra + struct.pack("<H", 0)
        head = head.ljust(size, b"\0")
        return head[:27] + struct.pack("<H", crc16(head)) + head[29:]
    rest = tag + struct.pack("<IIIBB", len(body), len(data), DOS_TIME, 0x20, level) + bytes([len(raw)]) + raw + struct.pack("<H", crc)
    if level == 1:
        rest += b"U" + struct.pack("<H", 0)
    return bytes([len(rest), sum(rest) & 255]) + rest


def packed(entries, level=1, method="lh0"):
    out = b""
    for name, data in entries.items():
        body = data if method == "lh0" else literals(data)
        out += _header(name, data, body, level, method) + body
    return out + b"\0"
