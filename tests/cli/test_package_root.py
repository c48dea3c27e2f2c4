"""The Debian package in a fresh Debian 12: installed by apt, doctor and demo run from it, a night run by its systemd unit with systemd as the
first process, removed again. Needs root, debootstrap and a mirror ($MALSEQ_DEBIAN_MIRROR); by hand, because it downloads a system."""
# ctest: long release
import json
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import time
import unittest

BIN = os.environ["MALSEQ_BIN"]
MIRROR = os.environ.get("MALSEQ_DEBIAN_MIRROR", "http://deb.debian.org/debian")
NEEDED = ["cpack", "dpkg-shlibdeps", "debootstrap", "unshare", "nsenter", "chroot"]
PACKAGES = "systemd,systemd-sysv,dbus,adduser,procps,man-db,ca-certificates,python3"
CLEAN = ["env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8", "DEBIAN_FRONTEND=noninteractive"]
CONF = "/etc/malseq/nightly.conf"
UNIT = "malseq-nightly.service"

# Devices of its own: systemd changes owner and mode of what it takes for its console.
BOOT = r"""
ip link set lo up
mount --make-rprivate /
mount --bind "$1" "$1"
cd "$1"
mount -t proc proc proc
mount -t sysfs -o ro sysfs sys
mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs tmpfs tmp
mount -t tmpfs -o mode=755 tmpfs dev
for device in null:3 zero:5 full:7 random:8 urandom:9 console:3; do mknod -m 666 dev/${device%:*} c 1 ${device#*:}; done
mknod -m 666 dev/tty c 5 0
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=666,mode=620 devpts dev/pts
mount -t tmpfs tmpfs dev/shm
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
mount -t cgroup2 cgroup2 sys/fs/cgroup || exit 1
mkdir -p mnt
pivot_root . mnt
umount -l /mnt
exec env -i container=other PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --unit=multi-user.target --log-target=kmsg > /var/log/first 2>&1 < /dev/null
"""


@unittest.skipUnless(os.geteuid() == 0 and all(map(shutil.which, NEEDED)), "needs root and " + ", ".join(NEEDED))
class Root(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(tempfile.mkdtemp(prefix="malseq-test-root-"))
        cls.addClassCleanup(shutil.rmtree, cls.folder, True)
        cls.root = cls.folder / "root"
        cls.call("cpack", "--config", os.path.join(os.path.dirname(BIN), "CPackConfig.cmake"), "-G", "DEB", "-B", cls.folder)
        package, = cls.folder.glob("*.deb")
        cls.call("debootstrap", "--variant=minbase", "--include=" + PACKAGES, "bookworm", cls.root, MIRROR)
        shutil.copy("/etc/resolv.conf", cls.root / "etc/resolv.conf")
        shutil.copy(package, cls.root / "srv/malseq.deb")
        cls.chrooted("apt-get update && apt-get install -y --no-install-recommends /srv/malseq.deb")

    @classmethod
    def call(cls, *words, code=0):
        done = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=1500)
        if code is not None and done.returncode != code:
            raise AssertionError("%s ended with %d: %s" % (" ".join(map(str, words)), done.returncode, done.stdout[-3000:]))
        return done.stdout

    @classmethod
    def chrooted(cls, command, **more):
        """In the root alone, with process ids of its own, before it is booted and after."""
        return cls.call("unshare", "--mount", "--pid", "--fork", "--kill-child", "chroot", cls.root, *CLEAN, "sh", "-c", "mount -t proc proc /proc && " + command, **more)

    def inside(self, command, **more):
        """In the booted system."""
        return self.call("nsenter", "-t", str(self.first), "-m", "-p", "-u", "-i", "-n", "-C", "-r", "-w", *CLEAN, "bash", "-c", command, **more)

    def boot(self):
        holder = subprocess.Popen(["unshare", "--mount", "--pid", "--uts", "--ipc", "--net", "--cgroup", "--fork", "--kill-child", "bash", "-c", BOOT, "boot", self.root],
                                  stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.addCleanup(holder.stdout.close)
        self.addCleanup(holder.wait)
        self.addCleanup(holder.kill)
        until, children = time.monotonic() + 120, pathlib.Path("/proc/%d/task/%d/children" % (holder.pid, holder.pid))
        while time.monotonic() < until and holder.poll() is None:
            self.first = int((children.read_text().split() or [0])[0])
            if self.first and pathlib.Path("/proc/%d/comm" % self.first).read_text() == "systemd\n" and self.inside("systemctl is-active dbus", code=None) == "active\n":
                return
            time.sleep(.5)
        self.skipTest("systemd does not start in namespaces here (no cgroup2?)")

    def prepare(self):
        """As docs/first-hour.md says, over the demo's services."""
        self.inside("adduser --system --group --home /var/lib/malseq malseq && chmod 700 /var/lib/malseq && install -d -o malseq -g malseq -m 700 /etc/malseq"
                    " && cp /usr/share/doc/malseq/examples/malseq-nightly.service /usr/share/doc/malseq/examples/malseq-nightly.timer /etc/systemd/system/ && systemctl daemon-reload && systemctl enable --now malseq-nightly.timer"
                    " && systemd-run --unit=world -q python3 -B /usr/share/malseq/demo/services/demo_world.py --out /srv/world --samples 60 --seed 1 --no-stdin"
                    " && for i in $(seq 300); do [ -e /srv/world/services.json ] && break; sleep .2; done")
        world = json.loads(self.inside("cat /srv/world/services.json"))
        for name, path in world["key_files"].items():
            self.inside("install -m 600 -o malseq %s /etc/malseq/%s.key" % (path, name))
        self.inside("install -m 644 %s /etc/malseq/repos.txt && mkdir -p /srv/reports && cp %s/* /srv/reports && chmod -R a+rX /srv/reports" % (world["repos"], world["fresh"]))
        text = (self.root / "usr/share/doc/malseq/examples/nightly.conf").read_text()
        for key, value in (("github-url", world["github_url"]), ("vt-url", world["virustotal_url"]), ("vt-user", world["vt_user"]), ("cuckoo", world["cuckoo_url"]),
                           ("token", "@/etc/malseq/cuckoo.key"), ("import", "/srv/reports"), ("opcodes", "yes"), ("poll", "1"), ("wait", "2s"), ("kind", "linear"), ("test-share", "0.2")):
            before = text
            # [label] has an import too, before [extract]'s
            text = re.sub(r"(?m)^#?%s = (?!/srv/vt).*$" % key, "%s = %s" % (key, value), text, count=1)
            self.assertNotEqual(text, before, key)
        (self.root / CONF[1:]).write_text(text)
        self.inside("chown malseq " + CONF)

    def shown(self):
        return dict(line.split("=", 1) for line in self.inside("systemctl show %s -p Result,ExecMainStatus,ExecMainCode" % UNIT).split())

    def test_1_doctor_and_demo(self):
        self.assertRegex(self.chrooted("malseq doctor --offline --corpus /nowhere"), r"(?m)^confinement +ok ")
        self.assertIn("Everything of this run lies in", self.chrooted("malseq demo --samples 40"))

    def test_2_a_night_under_systemd(self):
        self.boot()
        self.prepare()
        self.assertEqual(self.inside("systemd-analyze verify /etc/systemd/system/malseq-nightly.service /etc/systemd/system/malseq-nightly.timer"), "")
        self.assertLess(float(re.search(r"exposure level for \S+: ([\d.]+)", self.inside("systemd-analyze security --no-pager " + UNIT))[1]), 2)
        self.assertRegex(self.inside("runuser -u malseq -- malseq doctor --config " + CONF), r"(?m)^0 faults")
        # The night; what its processes are confined by is looked at while they run: systemd's filters, and one more for the readers.
        self.inside("systemctl start --no-block " + UNIT)
        filters = {}
        while self.inside("systemctl is-active " + UNIT, code=None).strip() == "activating":
            for line in self.inside("for p in $(pgrep -u malseq); do awk '/^(Name|CapBnd|NoNewPrivs|Seccomp_filters):/{printf \"%s \", $2}' /proc/$p/status; echo; done 2> /dev/null",
                                    code=None).splitlines():
                if len(line.split()) == 4:
                    name, bounds, no_new, count = line.split()
                    filters.setdefault(name, set()).add(int(count))
                    self.assertEqual((int(bounds, 16), no_new), (0, "1"), line)
        self.assertEqual(self.shown(), {"Result": "success", "ExecMainStatus": "0", "ExecMainCode": "1"}, self.inside("journalctl --no-pager -u " + UNIT))
        tools, readers = min(filters["malseq"]), max(max(counts) for counts in filters.values())
        self.assertGreater(tools, 0)
        self.assertGreater(readers, tools, filters)
        counts = json.loads(self.inside("runuser -u malseq -- malseq status --json --corpus /var/lib/malseq/corpus"))
        self.assertEqual((counts["samples"]["vaulted"], counts["models"]["all"], counts["coverage"]["never submitted"]), (60, 1, 0))
        self.assertGreater(counts["analyses"]["ok"], 40)
        self.inside("runuser -u malseq -- malseq fsck --corpus /var/lib/malseq/corpus")
        # Another run holds the corpus: later, which is a success.
        self.inside("runuser -u malseq -- flock /var/lib/malseq/corpus/lock systemd-cat sleep 20 & sleep 1; systemctl start %s; wait" % UNIT)
        self.assertEqual(self.shown(), {"Result": "success", "ExecMainStatus": "75", "ExecMainCode": "1"})
        # Stopped under way: in order.
        self.inside("systemctl start --no-block %s; sleep 1; systemctl stop %s" % (UNIT, UNIT))
        self.assertEqual(self.shown()["Result"], "success")
        self.inside("systemctl start " + UNIT)
        self.assertEqual(self.shown()["ExecMainStatus"], "0")

    def test_3_removed(self):
        files = [line for line in self.chrooted("dpkg -L malseq").splitlines() if (self.root / line[1:]).is_file()]
        self.assertGreater(len(files), 50)
        self.chrooted("apt-get purge -y malseq")
        self.assertEqual([name for name in files if (self.root / name[1:]).exists()], [])


if __name__ == "__main__":
    unittest.main()
