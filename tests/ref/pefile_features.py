"""The same features by pefile (Debian: python3-pefile), for comparison: reads the files named on stdin, one a line, and prints a JSON object
for each: those features that pefile has, named as malseq names them; null for a file that pefile does not read."""
import json
import sys

import pefile

OPTIONAL = {
    "magic": "Magic", "linker_major": "MajorLinkerVersion", "linker_minor": "MinorLinkerVersion", "code_size": "SizeOfCode",
    "initialized_data_size": "SizeOfInitializedData", "uninitialized_data_size": "SizeOfUninitializedData", "entry_point": "AddressOfEntryPoint",
    "code_base": "BaseOfCode", "image_base": "ImageBase", "section_alignment": "SectionAlignment", "file_alignment": "FileAlignment",
    "os_major": "MajorOperatingSystemVersion", "os_minor": "MinorOperatingSystemVersion", "image_major": "MajorImageVersion",
    "image_minor": "MinorImageVersion", "subsystem_major": "MajorSubsystemVersion", "subsystem_minor": "MinorSubsystemVersion",
    "image_size": "SizeOfImage", "headers_size": "SizeOfHeaders", "checksum": "CheckSum", "subsystem": "Subsystem",
    "dll_characteristics": "DllCharacteristics", "stack_reserve": "SizeOfStackReserve", "stack_commit": "SizeOfStackCommit",
    "heap_reserve": "SizeOfHeapReserve", "heap_commit": "SizeOfHeapCommit", "directory_count": "NumberOfRvaAndSizes"}
COFF = {"machine": "Machine", "section_count": "NumberOfSections", "timestamp": "TimeDateStamp", "optional_header_size": "SizeOfOptionalHeader",
        "characteristics": "Characteristics"}


def features(path):
    with open(path, "rb") as file:
        pe = pefile.PE(data=file.read(), fast_load=True)
    out = {name: getattr(pe.OPTIONAL_HEADER, field) for name, field in OPTIONAL.items()}
    out.update({name: getattr(pe.FILE_HEADER, field) for name, field in COFF.items()})
    out["directories"] = [[entry.VirtualAddress, entry.Size] for entry in pe.OPTIONAL_HEADER.DATA_DIRECTORY]
    sections = sorted(pe.sections, key=lambda section: section.get_file_offset())
    out["sections"] = [{"name": section.Name.rstrip(b"\0").hex(), "virtual_size": section.Misc_VirtualSize, "address": section.VirtualAddress,
                        "raw_size": section.SizeOfRawData, "raw_at": section.PointerToRawData, "characteristics": section.Characteristics,
                        "entropy": section.get_entropy()} for section in sections]
    pe.parse_data_directories([0, 1, 13])
    plain, delayed = getattr(pe, "DIRECTORY_ENTRY_IMPORT", []), getattr(pe, "DIRECTORY_ENTRY_DELAY_IMPORT", [])
    out["imports"] = [[entry.dll.decode("latin-1"), len(entry.imports)] for entry in plain]
    out["ordinals"] = sum(symbol.import_by_ordinal for entry in plain for symbol in entry.imports)
    out["bound"] = sum(entry.struct.TimeDateStamp != 0 for entry in plain)
    out["delayed"] = [[entry.dll.decode("latin-1"), len(entry.imports)] for entry in delayed]
    exports = getattr(pe, "DIRECTORY_ENTRY_EXPORT", None)
    out["exports"] = [exports.struct.NumberOfFunctions, exports.struct.NumberOfNames] if exports else None
    out["imphash"] = pe.get_imphash() or None
    try:
        rich = pe.parse_rich_header()
    except IndexError:      # a header shorter than its own first line
        rich = None
    out["rich_hash"] = __import__("hashlib").md5(rich["clear_data"]).hexdigest() if rich else None
    return out


for line in sys.stdin:
    try:
        print(json.dumps(features(line.rstrip("\n"))), flush=True)
    except pefile.PEFormatError:
        print("null", flush=True)
