"""Generator of harmless Windows PE files: headers, section table, import table and data, never code (the entry point is 0).

    pe(seed, kind="exe", bits=32, body_bytes=1024, fill="random") -> bytes
kind: exe, dll, driver, dotnet, efi. bits: 32 (PE32) or 64 (PE32+). fill: random (does not compress) or zero. Options:
    overlay=b"..."      bytes behind the last section         disarmed=True    Machine and Subsystem zeroed
    imports={dll: [names]}, the default is a few harmless names drawn by the seed; {} for none
    lfanew=0x80         where the PE header starts            sections=3       number of sections (1..90)
    imports may hold numbers instead of names: imports by ordinal. delayed={dll: [names]} is a delayed import table.
    bound=True          addresses in the import table, as a binder leaves them; lookup=False: no lookup table, as Borland's linker
    exports=[names]     an export table                       resources=N      an empty resource directory that claims N bytes
    rich=N              a Rich header of N entries (moves lfanew behind it)
    directory_count=16  NumberOfRvaAndSizes                   checksum_right=True
    code=b"..."         the first section is these bytes and nothing else, marked as code, with the entry point entry=N bytes behind its start
                        (None: 0, as ever); for disassemblers: SizeOfImage is 0 then, so that no loader takes the file
The same arguments give the same bytes. mz_not_pe(seed) is a 16-bit look-alike (NE), truncated(seed) a PE whose last section is cut.
"""
import random
import struct

FILE_ALIGN, SECTION_ALIGN = 512, 4096
NAMES = {
    "kernel32.dll": ["GetTickCount", "GetVersion", "Sleep", "CloseHandle", "CreateFileW", "ReadFile", "WriteFile", "GetModuleHandleW", "LoadLibraryW"],
    "user32.dll": ["LoadIconW", "MessageBoxW", "GetSystemMetrics", "ShowWindow", "GetDC"],
    "advapi32.dll": ["RegOpenKeyExW", "RegCloseKey", "RegQueryValueExW", "OpenProcessToken"],
    "ws2_32.dll": ["socket", "connect", "send", "recv"],
    "shell32.dll": ["ShellExecuteW", "SHGetFolderPathW"],
}
SECTION_NAMES = (b".text", b".data", b".rdata", b".idata", b".rsrc", b".reloc", b"UPX0", b".bss")


def aligned(value, step):
    return (value + step - 1) // step * step


def import_table(imports, base_rva, bits, bound=False, lookup=True):
    """(bytes, import directory size, IAT offset, IAT size) of an import table placed at base_rva."""
    width, pattern = (8, "<Q") if bits == 64 else (4, "<I")
    descriptors = 20 * (len(imports) + 1)
    by_ordinal = 1 << (bits - 1)
    thunks = sum((len(names) + 1) * width for names in imports.values())
    lookup_at, address_at, names_at = descriptors, descriptors + thunks, descriptors + 2 * thunks
    table, lookups, text = b"", b"", b""
    for dll, names in imports.items():
        first = len(lookups)
        for name in names:
            if isinstance(name, int):
                lookups += struct.pack(pattern, by_ordinal | name)
                continue
            lookups += struct.pack(pattern, base_rva + names_at + len(text))
            text += struct.pack("<H", 0) + name.encode() + (b"\0" if len(name) % 2 else b"\0\0")
        lookups += b"\0" * width
        table += struct.pack("<IIIII", base_rva + lookup_at + first if lookup else 0, 0xFFFFFFFF if bound else 0, 0,
                             base_rva + names_at + len(text), base_rva + address_at + first)
        text += dll.encode() + b"\0"
    addresses = lookups
    if bound:
        step = range(0, len(lookups), width)
        addresses = b"".join(struct.pack(pattern, 0x7C800000 + at if any(lookups[at:at + width]) else 0) for at in step)
    return table + b"\0" * 20 + lookups + addresses + text, descriptors, address_at, thunks


def delay_table(delayed, base_rva, bits):
    """(bytes, directory size) of a delayed import table: descriptors, then the two tables, then names."""
    width, pattern = (8, "<Q") if bits == 64 else (4, "<I")
    descriptors = 32 * (len(delayed) + 1)
    thunks = sum((len(names) + 1) * width for names in delayed.values())
    table, lookups, text = b"", b"", b""
    names_at = descriptors + 2 * thunks
    for dll, names in delayed.items():
        first = len(lookups)
        for name in names:
            lookups += struct.pack(pattern, base_rva + names_at + len(text))
            text += b"\0\0" + name.encode() + b"\0"
        lookups += b"\0" * width
        table += struct.pack("<8I", 1, base_rva + names_at + len(text), 0, base_rva + descriptors + thunks + first, base_rva + descriptors + first, 0, 0, 0)
        text += dll.encode() + b"\0"
    return table + b"\0" * 32 + lookups + lookups + text, descriptors


def export_table(names, base_rva):
    """An export directory whose functions all lie at its own start (there is no code); 40 bytes, then its tables."""
    functions, pointers, ordinals = 40, 40 + 4 * len(names), 40 + 8 * len(names)
    texts = ordinals + 2 * len(names)
    dll, text, places = b"made.dll\0", b"", []
    for name in names:
        places.append(base_rva + texts + len(dll) + len(text))
        text += name.encode() + b"\0"
    head = struct.pack("<IIHHIIIIIII", 0, 0x5F000000, 0, 0, base_rva + texts, 1, len(names), len(names), base_rva + functions, base_rva + pointers,
                       base_rva + ordinals)
    tables = b"".join(struct.pack("<I", 0x1000) for _ in names) + b"".join(struct.pack("<I", place) for place in places)
    return head + tables + b"".join(struct.pack("<H", index) for index in range(len(names))) + dll + text


def rich_header(rng, entries):
    """What Microsoft's linker puts behind the DOS stub: XORed pairs between DanS and Rich."""
    key = rng.getrandbits(32) | 1
    words = [0x536E6144, 0, 0, 0] + [rng.getrandbits(24) for _ in range(2 * entries)]
    return b"".join(struct.pack("<I", word ^ key) for word in words) + b"Rich" + struct.pack("<I", key)


def checksum(image, at):
    """The sum of CheckSumMappedFile; the field at `at` counts as 0."""
    data = image[:at] + b"\0\0\0\0" + image[at + 4:] + b"\0" * (len(image) % 2)
    total = sum(struct.unpack("<%dH" % (len(data) // 2), data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total + len(image)


def cor20(base_rva):
    """A .NET header with an empty metadata root behind it; no methods, entry point token 0."""
    metadata = struct.pack("<IHHII", 0x424A5342, 1, 1, 0, 12) + b"v4.0.30319\0\0" + struct.pack("<HH", 0, 0)
    return struct.pack("<IHHIIII", 72, 2, 5, base_rva + 72, len(metadata), 1, 0) + b"\0" * 48 + metadata


def pe(seed, kind="exe", bits=32, body_bytes=1024, fill="random", imports=None, sections=3, overlay=b"", disarmed=False, lfanew=0x80,
       delayed=None, bound=False, lookup=True, exports=None, resources=0, rich=0, directory_count=16, checksum_right=False, code=None, entry=0,
       machine=None):
    rng = random.Random("pe/%s" % (seed,))
    stub = rich_header(random.Random("rich/%s" % (seed,)), rich) if rich else b""
    lfanew = aligned(0x80 + len(stub), 8) if rich else lfanew
    if imports is None:
        imports = {dll: sorted(rng.sample(names, rng.randint(1, len(names)))) for dll, names in NAMES.items() if rng.random() < 0.7}
        imports = {"ntoskrnl.exe": ["DbgPrint", "IoCreateDevice"]} if kind == "driver" else {"mscoree.dll": ["_CorExeMain"]} if kind == "dotnet" else imports
    optional_bytes = 240 if bits == 64 else 224
    header_bytes = aligned(lfanew + 24 + optional_bytes + 40 * sections, FILE_ALIGN)
    directories = [(0, 0)] * 16
    blocks, rva, special = [], aligned(header_bytes, SECTION_ALIGN), b""
    share = max(1, body_bytes // sections)
    for index in range(sections):
        data = rng.randbytes(share) if fill == "random" else b"\0" * share
        if index == 0 and code is not None:
            data, imports = code, {}
        if index == 0 and imports:
            special, directory_bytes, iat, iat_bytes = import_table(imports, rva, bits, bound, lookup)
            directories[1], directories[12] = (rva, directory_bytes), (rva + iat, iat_bytes)
            data = special + data
        if index == 0 and delayed:
            special, directory_bytes = delay_table(delayed, rva + len(data), bits)
            directories[13] = (rva + len(data), directory_bytes)
            data += special
        if index == 0 and exports:
            special = export_table(exports, rva + len(data))
            directories[0] = (rva + len(data), len(special))
            data += special
        if index == sections - 1 and resources:
            directories[2] = (rva + len(data), resources)
            data += b"\0" * 16
        if index == sections - 1 and kind == "dotnet":
            directories[14] = (rva, 72)
            data = cor20(rva) + data if sections > 1 or not imports else data
        blocks.append((rng.choice(SECTION_NAMES), rva, data))
        rva += aligned(len(data), SECTION_ALIGN)
    machine = 0 if disarmed else machine if machine is not None else 0x8664 if bits == 64 else 0x14C
    entry_point = blocks[0][1] + entry if code is not None and entry is not None else 0
    flags = {"dll": 0x2102, "driver": 0x0102, "efi": 0x0102}.get(kind, 0x0102) | (0x20 if bits == 64 else 0)
    subsystem = 0 if disarmed else {"driver": 1, "efi": 10}.get(kind, rng.choice((2, 3)))
    stamp = rng.randint(1_300_000_000, 1_650_000_000)
    image = bytearray(header_bytes)
    image[:64] = b"MZ" + struct.pack("<29H", 0x90, 3, 0, 4, 0, 0xFFFF, 0, 0xB8, *[0] * 21) + struct.pack("<I", lfanew)
    coff = struct.pack("<4sHHIIIHH", b"PE\0\0", machine, sections, stamp, 0, 0, optional_bytes, flags)
    raw_bytes = sum(aligned(len(data), FILE_ALIGN) for _, _, data in blocks)
    optional = struct.pack("<HBBIIII", 0x20B if bits == 64 else 0x10B, rng.randint(6, 14), rng.randint(0, 30), 0, raw_bytes, 0, entry_point)
    optional += struct.pack("<I", blocks[0][1])
    optional += struct.pack("<Q", 0x140000000) if bits == 64 else struct.pack("<II", blocks[-1][1], 0x400000)
    optional += struct.pack("<IIHHHHHHIIIIHH", SECTION_ALIGN, FILE_ALIGN, 6, 0, 0, 0, 6, 0, 0, rva if code is None else 0, header_bytes, 0, subsystem, 0x8140)
    optional += struct.pack("<QQQQ" if bits == 64 else "<IIII", 0x100000, 0x1000, 0x100000, 0x1000) + struct.pack("<II", 0, directory_count)
    optional += b"".join(struct.pack("<II", *directory) for directory in directories)
    table, body, offset = b"", b"", header_bytes
    for index, (name, address, data) in enumerate(blocks):
        size = aligned(len(data), FILE_ALIGN)
        marks = 0x60000020 if index == 0 and code is not None else 0x40000040
        table += struct.pack("<8sIIIIIIHHI", name, len(data), address, size, offset, 0, 0, 0, 0, marks)
        body += data.ljust(size, b"\0")
        offset += size
    head = coff + optional + table
    image[lfanew:lfanew + len(head)] = head
    image[0x80:0x80 + len(stub)] = stub
    whole = bytes(image) + body + overlay
    if not checksum_right:
        return whole
    at = lfanew + 24 + 64
    return whole[:at] + struct.pack("<I", checksum(whole, at)) + whole[at + 4:]


def mz_not_pe(seed=0):
    """A DOS header that leads to an NE header: what many old collections hold."""
    image = bytearray(random.Random("ne/%s" % (seed,)).randbytes(1024))
    image[:64] = b"MZ" + b"\0" * 58 + struct.pack("<I", 0x80)
    image[0x80:0x84] = b"NE\x05\x0a"
    return bytes(image)


def truncated(seed=0):
    whole = pe("cut/%s" % (seed,), body_bytes=4096)
    return whole[:len(whole) - 1500]
