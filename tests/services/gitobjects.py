"""Git's object ids and a tiny in-memory object store (blob, tree, commit); no packs, no refs, no files on disk."""
import hashlib

FILE, EXECUTABLE, SYMLINK, SUBMODULE, FOLDER = "100644", "100755", "120000", "160000", "040000"


def object_id(kind, data):
    """The SHA-1 by which git names an object: over 'KIND LENGTH NUL DATA'."""
    return hashlib.sha1(b"%s %d\0" % (kind.encode(), len(data)) + data).hexdigest()


class Store:
    """Objects by id: {id: (kind, bytes)}; trees also decoded in `trees`: {id: [(mode, name bytes, id)]}."""

    def __init__(self):
        self.objects, self.trees, self.commits = {}, {}, {}

    def put(self, kind, data):
        name = object_id(kind, data)
        self.objects[name] = (kind, data)
        return name

    def put_tree(self, files):
        """files: {path: content}; content is bytes, or (mode, bytes), or (SUBMODULE, commit id as str). Returns the tree's id."""
        root = {}
        for path, content in files.items():
            raw = path if isinstance(path, bytes) else path.encode("utf-8", "surrogateescape")
            mode, data = content if isinstance(content, tuple) else (FILE, content)
            *folders, leaf = raw.split(b"/")
            node = root
            for folder in folders:
                node = node.setdefault(folder, {})
            node[leaf] = (mode, data if mode == SUBMODULE else self.put("blob", data))
        return self._put_node(root)

    def _put_node(self, node):
        entries = []
        for name, value in node.items():
            entries.append((FOLDER, name, self._put_node(value)) if isinstance(value, dict) else (value[0], name, value[1]))
        # git sorts folders as if their name ended in a slash
        entries.sort(key=lambda entry: entry[1] + b"/" if entry[0] == FOLDER else entry[1])
        data = b"".join(mode.lstrip("0").encode() + b" " + name + b"\0" + bytes.fromhex(child) for mode, name, child in entries)
        tree = self.put("tree", data)
        self.trees[tree] = entries
        return tree

    def put_commit(self, tree, parents=(), seconds=1700000000, message="Add samples\n"):
        person = "Demo Keeper <keeper@example.invalid> %d +0000" % seconds
        lines = ["tree " + tree] + ["parent " + parent for parent in parents] + ["author " + person, "committer " + person, "", message]
        commit = self.put("commit", "\n".join(lines).encode())
        self.commits[commit] = {"tree": tree, "parents": list(parents), "seconds": seconds, "message": message}
        return commit

    def walk(self, tree, prefix=b"", recursive=True):
        """(mode, path bytes, id) of the entries, folders before what they hold, as the trees API lists them."""
        for mode, name, child in self.trees[tree]:
            yield mode, prefix + name, child
            if recursive and mode == FOLDER:
                yield from self.walk(child, prefix + name + b"/", True)
