# SPDX-License-Identifier: GPL-2.0
"""
Pack programs of a host, with the libraries that they need, as a cpio archive
(newc) that a kernel unpacks behind a VM's own initramfs.

Arguments: the VM's initramfs, the file to write, then NAME=PATH for each
program or other file: it is put at /tools/NAME.
"""

import os
import subprocess
import sys


def entry(name, mode, data):
    """ One file or folder, see Documentation/driver-api/early-userspace. """
    name = name.lstrip("/").encode() + b"\0"
    fields = [0, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name), 0]
    out = b"070701" + b"".join(b"%08x" % f for f in fields) + name
    out += b"\0" * (-len(out) % 4)
    return out + data + b"\0" * (-len(data) % 4)


def libraries(path):
    """ What the dynamic linker would load for a program. """
    ldd = subprocess.run(["ldd", path], capture_output=True, text=True,
                         check=False)
    return {w for w in ldd.stdout.split() if w.startswith("/")}


def main():
    """ Write the archive. """
    initrd, out, *named = sys.argv[1:]
    files = {}
    for one in named:
        name, path = one.split("=")
        path = os.path.realpath(path)
        files["/tools/" + name] = path
        for library in libraries(path):
            files[library] = os.path.realpath(library)
    dirs = set()
    for name in files:
        parent = os.path.dirname(name)
        while parent != "/":
            dirs.add(parent)
            parent = os.path.dirname(parent)
    with open(initrd, "rb") as own:
        archive = [own.read()]
    archive.append(b"\0" * (-len(archive[0]) % 512))
    archive += [entry(d, 0o40755, b"") for d in sorted(dirs)]
    for name, path in sorted(files.items()):
        with open(path, "rb") as f:
            archive.append(entry(name, 0o100755, f.read()))
    archive.append(entry("TRAILER!!!", 0, b""))
    with open(out + ".part", "wb") as f:
        f.write(b"".join(archive))
    os.rename(out + ".part", out)


main()
