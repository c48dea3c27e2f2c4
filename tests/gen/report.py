"""Generator of sandbox reports in the layouts of Cuckoo 2.0.7 and CAPE from lists of API names; it runs nothing and reads no sandbox.

    processes = [Process("sample.exe", ["NtCreateFile", "NtWriteFile", ...]), ...]
    cuckoo(processes, sha256=..., ...) -> bytes      indent 4, sorted keys, calls as objects with "arguments" as an object
    cape(processes, sha256=..., ...)   -> bytes      indent 2, arguments as a list, consecutive equal calls folded into "repeated"
Every report begins with lsass.exe, tracked: false and without calls (Cuckoo only), as real ones do. A name that begins with "__" is
written as a pseudo-call of category __notification__. A call may be an API name or (name, status, thread index).
count(processes) gives what a reader must find: {"processes", "calls", "pseudo", "names"}; CAPE's `calls` is the expanded number.
cuckoo1(…), modified(…)            -> bytes      the same calls as Cuckoo 0.4/1.x and cuckoo-modified wrote them
speakeasy(…, version=0|1|2)        -> bytes      the emulator's: the list of entry points alone, within its document, events of all kinds
drakvuf(…, plugin=…, noise=…)      -> bytes      a log, processes taking turns, with lines of other plugins between
count_json(bytes) counts any report of these kinds, real ones too, by the standard library's parser: {"processes", "calls",
"calls_expanded"}, pseudo-calls included; mutate(bytes, seed) removes, doubles, adds and repeats calls of any report.
"""
import hashlib
import json
import random
import time
import zlib

# API name -> (Cuckoo 2 category, argument names and values). Only names that the generators use; all others are "misc".
CATEGORIES = {
    "file": "NtCreateFile NtOpenFile NtReadFile NtWriteFile DeleteFileW CopyFileW MoveFileWithProgressW GetFileAttributesW SetFileAttributesW "
            "FindFirstFileExW FindFirstFileExA NtQueryDirectoryFile NtQueryInformationFile NtSetInformationFile SetFilePointer SetFilePointerEx GetFileSize "
            "GetFileSizeEx GetFileType GetTempPathW GetTempFileNameW CreateDirectoryW GetSystemDirectoryW GetSystemWindowsDirectoryW NtDeviceIoControlFile "
            "GetVolumePathNamesForVolumeNameW GetDiskFreeSpaceExW GetVolumeNameForVolumeMountPointW GetShortPathNameW SetEndOfFile SearchPathW",
    "registry": "RegOpenKeyExW RegOpenKeyExA RegQueryValueExW RegQueryValueExA RegSetValueExW RegSetValueExA RegCreateKeyExW RegCreateKeyExA RegCloseKey "
                "RegEnumKeyExW RegEnumValueW RegDeleteValueW NtOpenKey NtQueryValueKey NtSetValueKey NtCreateKey NtOpenKeyEx",
    "process": "NtAllocateVirtualMemory NtFreeVirtualMemory NtProtectVirtualMemory NtMapViewOfSection NtUnmapViewOfSection NtCreateSection NtOpenProcess "
               "NtTerminateProcess CreateProcessInternalW CreateThread CreateRemoteThread NtResumeThread NtSuspendThread NtGetContextThread "
               "NtSetContextThread NtOpenThread NtCreateThreadEx ReadProcessMemory WriteProcessMemory Process32FirstW Process32NextW ShellExecuteExW "
               "CreateToolhelp32Snapshot Module32FirstW NtOpenSection NtCreateUserProcess",
    "system": "LdrLoadDll LdrGetProcedureAddress LdrGetDllHandle LdrUnloadDll NtClose SetErrorMode GetSystemInfo GetSystemMetrics NtDuplicateObject "
              "SetWindowsHookExA SetWindowsHookExW UnhookWindowsHookEx GetKeyState GetAsyncKeyState LookupPrivilegeValueW IsDebuggerPresent OutputDebugStringA "
              "GetNativeSystemInfo GetKeyboardState NtQuerySystemInformation GlobalMemoryStatusEx ExitWindowsEx",
    "network": "WSAStartup socket connect send recv closesocket bind listen accept select getaddrinfo gethostbyname setsockopt ioctlsocket WSASocketW "
               "InternetOpenA InternetOpenW InternetConnectA InternetConnectW InternetOpenUrlA InternetOpenUrlW InternetReadFile InternetCloseHandle "
               "HttpOpenRequestA HttpOpenRequestW HttpSendRequestA HttpSendRequestW InternetSetOptionA InternetCrackUrlA InternetCrackUrlW "
               "URLDownloadToFileW DnsQuery_A ObtainUserAgentString GetAdaptersAddresses InternetQueryOptionA NetShareEnum sendto InternetGetConnectedState",
    "ui": "FindWindowA FindWindowW FindWindowExW MessageBoxTimeoutW LoadStringW DrawTextExW GetForegroundWindow SendNotifyMessageW",
    "resource": "FindResourceA FindResourceExW FindResourceW LoadResource SizeofResource",
    "services": "OpenSCManagerA OpenSCManagerW OpenServiceA OpenServiceW CreateServiceA CreateServiceW StartServiceA StartServiceW ControlService "
                "DeleteService EnumServicesStatusW",
    "synchronisation": "NtCreateMutant NtOpenMutant NtDelayExecution GetSystemTimeAsFileTime GetLocalTime GetSystemTime GetTickCount NtQuerySystemTime",
    "ole": "CoInitializeEx CoCreateInstance CoUninitialize OleInitialize CoInitializeSecurity CoGetClassObject",
    "crypto": "CryptAcquireContextW CryptAcquireContextA CryptCreateHash CryptHashData CryptGenKey CryptEncrypt CryptDecrypt CryptUnprotectData CryptProtectData CryptDecodeObjectEx",
    "exception": "SetUnhandledExceptionFilter RtlAddVectoredExceptionHandler",
}
CATEGORY = {name: category for category, names in CATEGORIES.items() for name in names.split()}
# CAPE spells some categories otherwise and knows some that Cuckoo 2 does not.
CAPE_CATEGORY = {"file": "filesystem", "synchronisation": "synchronization", "ui": "windows", "ole": "com", "exception": "hooking"}
ARGUMENTS = {
    "file": (("filepath", "C:\\Users\\demo\\AppData\\Local\\Temp\\data.tmp"), ("file_handle", "0x00000120")),
    "registry": (("key_handle", "0x0000008c"), ("regkey", "HKEY_CURRENT_USER\\Software\\Demo")),
    "process": (("base_address", "0x00410000"), ("process_identifier", 2260), ("region_size", 4096)),
    "network": (("buffer", "GET /index.html\r\n\u0000"), ("socket", 512)),
    "system": (("module_name", "kernel32.dll"),),
}
START = 1700000000.0          # first_seen of the first process: the guest's clock, not the host's
TICK = 0.015625               # the guest's clock granularity


class Process:
    """One process of a report: name, calls (names or (name, status, thread)), pid, ppid, track."""

    def __init__(self, name, calls, pid=None, ppid=None, track=True):
        self.name, self.calls, self.pid, self.ppid, self.track = name, list(calls), pid, ppid, track


def _numbered(processes):
    for index, process in enumerate(processes):
        pid = process.pid or 2000 + 4 * (index + 13)
        yield process, pid, process.ppid or (1984 if index == 0 else processes[0].pid or 2052), START + index * 1.25


def _call(call):
    return (call, True, 0) if isinstance(call, str) else call


def _category(name):
    return "__notification__" if name.startswith("__") else CATEGORY.get(name, "misc")


def count(processes):
    names = {}
    for process in processes:
        for call in process.calls:
            name = _call(call)[0]
            names[name] = names.get(name, 0) + 1
    return {"processes": len(processes), "calls": sum(names.values()), "names": names,
            "pseudo": sum(number for name, number in names.items() if name.startswith("__"))}


class _CallText:
    """Renders calls as text by templates: json.dumps with an indent is ten times slower on a report of this size."""

    def __init__(self, depth, indent):
        self.pad, self.step, self.heads = "\n" + " " * (depth * indent), " " * indent, {}

    def object(self, pairs):
        inner = self.pad + self.step
        return "{" + ",".join(inner + json.dumps(key) + ": " + value for key, value in pairs) + self.pad + "}"


def _cuckoo_template(text, name, status):
    category = _category(name)
    inner = _CallText(0, 4)
    inner.pad, inner.step = text.pad + text.step, text.step
    arguments = ARGUMENTS.get(category)
    shown = inner.object([(key, json.dumps(value)) for key, value in sorted(arguments)]) if arguments else "{}"
    pairs = [("api", json.dumps(name)), ("arguments", shown), ("category", json.dumps(category)), ("flags", "{}")]
    if not status:
        pairs += [("last_error", "2"), ("nt_status", "-1073741772")]
    pairs += [("return_value", "0" if status else "-1073741772"), ("stacktrace", "[]"), ("status", "1" if status else "0"),
              ("tid", "\x01"), ("time", "\x02")]
    return text.object(pairs)


def cuckoo_calls(calls, tid, first_seen):
    """The text of a calls array (its elements, indented for report.json) and the array's own counts by API."""
    text, templates, pieces, stats = _CallText(5, 4), {}, [], {}
    for index, call in enumerate(calls):
        name, status, thread = _call(call)
        template = templates.get((name, status))
        if template is None:
            template = templates[(name, status)] = _cuckoo_template(text, name, status).replace("%", "%%").replace("\x01", "%d").replace("\x02", "%r")
        # Most neighbours share a time stamp: the guest's clock is that coarse.
        pieces.append(template % (tid + 4 * thread, first_seen + TICK * (index // 24)))
        stats[name] = stats.get(name, 0) + 1
    return text.pad + ("," + text.pad).join(pieces) + "\n" + " " * 16 if pieces else "", stats


def _hashes(sha256, sample):
    if sample is None:
        return {"sha256": sha256, "sha1": sha256[:40], "md5": sha256[:32], "sha512": sha256 * 2, "size": 4096, "crc32": sha256[:8].upper()}
    return {"sha256": hashlib.sha256(sample).hexdigest(), "sha1": hashlib.sha1(sample).hexdigest(), "md5": hashlib.md5(sample).hexdigest(),
            "sha512": hashlib.sha512(sample).hexdigest(), "size": len(sample), "crc32": "%08X" % zlib.crc32(sample)}


def cuckoo(processes, sha256="0" * 64, task=1, sample=None, options="", package="exe", custom="", errors=(), lsass=True, behavior=True):
    """A report.json of Cuckoo 2.0.7. sample: the file's bytes for true hashes; behavior=False leaves that key out altogether."""
    listed = ([Process("lsass.exe", [], 484, 380, track=False)] if lsass else []) + list(processes)
    rows, stats, tree, calls_text = [], {}, [], {}
    for index, (process, pid, ppid, first_seen) in enumerate(_numbered(listed)):
        text, counts = cuckoo_calls(process.calls, pid + 4, first_seen)
        mark = "\x03%d\x03" % index
        calls_text[json.dumps(mark)] = text
        path = "C:\\Windows\\System32\\lsass.exe" if not process.track else "C:\\Users\\demo\\AppData\\Local\\Temp\\" + process.name
        common = {"command_line": '"%s" ' % path, "first_seen": first_seen, "pid": pid, "ppid": ppid, "process_name": process.name,
                  "track": process.track}
        rows.append(dict(common, calls=[mark] if text else [], modules=[], process_path=path, tid=pid + 4, time=0, type="process"))
        tree.append(dict(common, children=[]))
        if counts:
            stats[str(pid)] = counts
    digest = _hashes(sha256, sample)
    report = {
        "info": {"added": START - 20, "started": START - 19, "ended": START + 60, "duration": 79, "id": task, "category": "file", "custom": custom,
                 "git": {"head": "0" * 40, "fetch_head": "0" * 40}, "monitor": "0" * 40, "package": package, "platform": "", "route": "none",
                 "owner": "", "options": options, "score": 2.4, "version": "2.0.7",
                 "machine": {"label": "cuckoo1", "manager": "VirtualBox", "name": "cuckoo1", "started_on": "2023-11-14 22:13:21",
                             "shutdown_on": "2023-11-14 22:14:20", "status": "stopped"}},
        "target": {"category": "file", "file": dict(digest, name=digest["sha256"][:12] + ".exe", path="/srv/cuckoo/binaries/" + digest["sha256"],
                                                    ssdeep=None, type="PE32 executable (GUI) Intel 80386, for MS Windows", urls=[], yara=[])},
        "debug": {"action": [], "dbgview": [], "errors": list(errors), "log": ["analysis of a generated file\n"], "cuckoo": []},
        "metadata": {"output": {}}, "network": {}, "signatures": [], "static": {}, "strings": [],
    }
    if behavior:
        report["behavior"] = {"apistats": stats, "generic": [], "processes": rows, "processtree": tree, "summary": {}}
    text = json.dumps(report, indent=4, sort_keys=True)
    for mark, calls in calls_text.items():
        # json.dumps put the mark on a line of its own inside the brackets; the brackets stay, the mark's line goes.
        start = text.find(mark)
        if start >= 0:
            text = text[:text.rindex("[", 0, start) + 1] + calls + text[text.index("]", start):]
    return text.encode("ascii")


def cape_stamp(seconds):
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(seconds)) + ",%03d" % int(seconds % 1 * 1000)


def cape_calls(calls, tid, first_seen):
    """CAPE's call entries: neighbours that are equal become one entry with `repeated`."""
    entries, previous = [], None
    for index, call in enumerate(calls):
        name, status, thread = _call(call)
        if previous == (name, status):
            entries[-1]["repeated"] += 1
            continue
        previous = (name, status)
        category = _category(name)
        entries.append({"timestamp": cape_stamp(first_seen + TICK * (index // 24)), "thread_id": str(tid + 4 * thread), "caller": "0x00401000",
                        "parentcaller": "0x00401100", "category": CAPE_CATEGORY.get(category, category), "api": name, "status": bool(status),
                        "return": "0x00000000" if status else "0xc0000034",
                        "arguments": [{"name": key, "value": str(value)} for key, value in ARGUMENTS.get(category, ())],
                        "repeated": 0, "id": len(entries)})
    return entries


def cape(processes, sha256="0" * 64, task=1, sample=None, options=None, package="exe", custom=""):
    """A report.json of CAPE: raw UTF-8, indent 2."""
    rows, tree = [], []
    for process, pid, ppid, first_seen in _numbered(list(processes)):
        path = "C:\\Users\\demo\\AppData\\Local\\Temp\\" + process.name
        rows.append({"process_id": pid, "process_name": process.name, "parent_id": ppid, "module_path": path, "first_seen": cape_stamp(first_seen),
                     "calls": cape_calls(process.calls, pid + 4, first_seen), "threads": [str(pid + 4)], "environ": {"UserName": "demo"}})
        tree.append({"name": process.name, "pid": pid, "parent_id": ppid, "module_path": path, "children": [], "threads": [str(pid + 4)],
                     "environ": {}})
    digest = _hashes(sha256, sample)
    report = {
        "statistics": {"processing": [], "signatures": [], "reporting": []},
        "info": {"version": "2.4-CAPE", "started": "2023-11-14 22:13:00", "ended": "2023-11-14 22:14:20", "duration": 80, "id": task,
                 "category": "file", "custom": custom, "package": package, "timeout": False, "options": options or {}, "route": "none",
                 "machine": {"id": task, "status": "stopped", "name": "win10", "label": "win10", "manager": "KVM",
                             "started_on": "2023-11-14 22:13:01", "shutdown_on": "2023-11-14 22:14:20"}},
        "behavior": {"processes": rows, "anomaly": [], "processtree": tree, "summary": {}, "enhanced": [], "encryptedbuffers": []},
        "debug": {"log": "", "errors": []}, "network": {}, "signatures": [], "malscore": 1.0,
        "target": {"category": "file", "file": dict(digest, name=digest["sha256"][:12] + ".exe", path="/opt/CAPEv2/storage/binaries/" + digest["sha256"])},
    }
    return json.dumps(report, indent=2, ensure_ascii=False).encode("utf-8", "surrogatepass")


def cuckoo1(processes, sha256="0" * 64, version="0.4.2"):
    """A report.json of Cuckoo 0.4 or 1.x: numbers as texts where those wrote texts, `repeated`, no caller."""
    whole = json.loads(cape(processes, sha256))
    whole["info"] = {"version": version, "started": "2012-01-02 03:04:05", "duration": 60, "id": 1, "category": "file", "package": "exe"}
    old = version.startswith("0.")
    for process in whole["behavior"]["processes"]:
        process.pop("module_path"), process.pop("threads"), process.pop("environ")
        for call in process["calls"]:
            for key in ("caller", "parentcaller"):
                call.pop(key)
            if old:
                call["status"] = "SUCCESS" if call["status"] else "FAILURE"
                call.pop("id")
        if old:
            process["process_id"], process["parent_id"] = str(process["process_id"]), str(process["parent_id"])
            process["first_seen"] = "20231114221320.000"
    for key in ("encryptedbuffers", "enhanced"):
        whole["behavior"].pop(key)
    for key in ("statistics", "malscore"):
        whole.pop(key)
    return json.dumps(whole, indent=4, sort_keys=True).encode()


def modified(processes, sha256="0" * 64):
    """A report.json of cuckoo-modified: CAPE's fields under a version of its own."""
    whole = json.loads(cape(processes, sha256))
    whole["info"]["version"] = "1.3-NG"
    return json.dumps(whole, indent=4, ensure_ascii=False).encode()


def speakeasy(processes, sha256="0" * 64, version=1):
    """Each process an entry point. 0: the list alone; 1: its document, lists `apis`; 2: `events` of all kinds."""
    points = []
    for number, (process, pid, _, _) in enumerate(_numbered(list(processes))):
        apis = []
        for index, call in enumerate(process.calls):
            name = "KERNEL32." + _call(call)[0]
            entry = {"pc": hex(0x401000 + index), "api_name": name, "args": ["0x1", "a.txt"], "ret_val": None if index % 3 else "0x0"}
            if version == 2:
                entry = {"pos": {"tick": index, "tid": 1000 + _call(call)[2], "pid": pid, "pc": 0x401000}, "event": "api", "api_name": name, "args": ["0x1"], "ret_val": "0x0"}
                if index % 5 == 0:
                    apis.append({"pos": entry["pos"], "event": "file_open", "path": "C:\\a", "handle": "0x84"})
            apis.append(entry)
        point = {"ep_type": "module_entry" if number == 0 else "thread", "start_addr": "0x401000", "ep_args": ["0x4020"], "apihash": "0" * 64,
                 "ret_val": "0x0", "error": {} if number % 2 else None, "events" if version == 2 else "apis": apis}
        points.append(dict(point, dynamic_code_segments=[]))
    if version == 0:
        return json.dumps(points, indent=4).encode()
    head = {"report_version": "1.1.0", "emu_version": "1.5.9", "path": "/samples/a.exe", "os_run": "windows.6_1"} if version == 1 else \
        {"report_version": "2.0.0", "filepath": "/samples/a.exe"}
    return json.dumps(dict(head, sha256=sha256, size=4096, arch="x86", filetype="exe", emulation_total_runtime=1.25, timestamp=1700000000,
                           strings={"static": {"ansi": ["a"]}}, entry_points=points)).encode()


def drakvuf(processes, plugin="apimon", noise=True, seed=1, end="\n"):
    """A log: the processes' calls dealt into one sequence, each with a time of its own."""
    rng, waiting, lines, stamp = random.Random("drakvuf/%s" % (seed,)), [], [], 1716999134.0
    for process, pid, ppid, _ in _numbered(list(processes)):
        common = {"PID": pid, "PPID": ppid, "UserName": "SessionID", "UserId": 2, "ProcessName": "\\Device\\HarddiskVolume2\\" + process.name}
        waiting.append([common, [_call(call) for call in process.calls]])
    while any(calls for _, calls in waiting):
        common, calls = rng.choice([pair for pair in waiting if pair[1]])
        for name, _, thread in [calls.pop(0) for _ in range(min(len(calls), rng.randrange(1, 6)))]:
            stamp += rng.random() / 100
            time_and_place = {"TimeStamp": "%.6f" % stamp, **common, "TID": common["PID"] + 4 + 4 * thread, "Method": name, "EventUID": hex(len(lines))}
            if plugin == "apimon":
                line = {"Plugin": plugin, **time_and_place, "Event": "api_called", "CLSID": None, "CalledFrom": "0x7ff0", "ReturnValue": "0x0",
                        "Arguments": ['Arg0=0x1:"a\\u0000b"', "Arg1=0x0"]}
            else:
                line = {"Plugin": plugin, **time_and_place, "Module": "nt", "vCPU": 1, "CR3": "0x1", "Syscall": 63, "NArgs": 1, "Event": "0x0"}
            lines.append(json.dumps(line))
            if noise and rng.random() < 0.4:
                lines.append(json.dumps(rng.choice((
                    {"Plugin": "apimon", "Event": "dll_loaded", "Rva": {"Sleep": 1}, "DllName": "k.dll", "PID": 1},
                    {"Plugin": "sysret", **time_and_place, "Ret": 0}, {"Plugin": "procmon", **time_and_place},
                    {"Plugin": "inject", "TimeStamp": "1.5", "Method": "CreateProc", "Status": "Success"}))))
    return (end.join(lines) + end).encode()


def _count_log(data):
    """Of a log: events of plugin apimon that are calls, else all of plugin syscall; by plain reading of each line."""
    calls = {"apimon": [], "syscall": []}
    for line in data.split(b"\n"):
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if not isinstance(event, dict) or not isinstance(event.get("Method"), str):
            continue
        if event.get("Plugin") == "syscall" or event.get("Plugin") == "apimon" and event.get("Event", "api_called") == "api_called":
            calls[event["Plugin"]].append((event.get("PID"), event.get("PPID"), event.get("ProcessName")))
    kept = calls["apimon"] or calls["syscall"]
    return {"processes": len(set(kept)), "calls": len(kept), "calls_expanded": len(kept)}


def _count_points(points):
    apis = [entry for point in points or [] for entry in point.get("apis") or []]
    apis += [entry for point in points or [] for entry in point.get("events") or [] if entry.get("event") == "api"]
    return {"processes": len(points or []), "calls": len(apis), "calls_expanded": len(apis)}


def count_json(data):
    """An independent count of a report's call entries; `repeated` further equal calls are in calls_expanded alone."""
    try:
        whole = json.loads(data)
    except ValueError:
        return _count_log(data)
    if isinstance(whole, list) or "entry_points" in whole:
        return _count_points(whole if isinstance(whole, list) else whole["entry_points"])
    if "Plugin" in whole:
        return _count_log(data)
    processes = (json.loads(data).get("behavior") or {}).get("processes") or []
    calls = [call for process in processes for call in process.get("calls") or []]
    return {"processes": len(processes), "calls": len(calls), "calls_expanded": sum(1 + int(call.get("repeated") or 0) for call in calls)}


def _mutate_log(data, rng):
    """Lines removed, doubled, moved, damaged, cut."""
    lines = []
    for line in data.split(b"\n"):
        roll = rng.random()
        if roll < 0.05:
            continue
        if roll < 0.08:
            line = line[:rng.randrange(len(line) + 1)]
        elif roll < 0.1:
            line = rng.choice((b"", b"null", b"[]", b"{}", b"text", b"\xff\xfe", b"{\"Plugin\": \"apimon\", \"Event\": \"api_called\"}", line + b" {}", line + b"\r"))
        lines.extend([line] * (2 if roll > 0.95 else 1))
    return b"\n".join(lines)


def _mutate_points(whole, rng):
    for point in whole if isinstance(whole, list) else whole.get("entry_points") or []:
        for key in ("apis", "events"):
            if point.get(key):
                kept = [entry for entry in point[key] if rng.random() > 0.1]
                point[key] = rng.choice((kept, kept + kept[:3], kept, []))
            elif rng.random() < 0.2:
                point[key] = None


def mutate(data, seed):
    """The same report with some calls removed, doubled, moved, renamed to pseudo-calls, and (CAPE) other `repeated` numbers."""
    rng = random.Random("mutate/%s" % (seed,))
    try:
        whole = json.loads(data)
    except ValueError:
        return _mutate_log(data, rng)
    if isinstance(whole, list) or "entry_points" in whole:
        _mutate_points(whole, rng)
        return json.dumps(whole, indent=rng.choice((None, 1))).encode()
    for process in (whole.get("behavior") or {}).get("processes") or []:
        calls = []
        for call in process.get("calls") or []:
            roll = rng.random()
            if roll < 0.05:
                continue
            if "repeated" in call and roll < 0.15:
                call = dict(call, repeated=rng.choice((0, 1, 2, 17, 300)))
            if roll > 0.97:
                call = dict(call, api=rng.choice(("__anomaly__", "__exception__", "NtClose")))
            calls.extend([call] * (2 if 0.15 < roll < 0.2 else 1))
        if rng.random() < 0.3:
            rng.shuffle(calls)
        process["calls"] = calls if rng.random() > 0.03 else []
    return json.dumps(whole, indent=rng.choice((None, 2, 4)), sort_keys=rng.random() < 0.5, ensure_ascii=rng.random() < 0.5).encode("utf-8", "surrogatepass")
