#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Builds QEMU with the software 82599.
#
# Usage: build.sh SOURCE BUILD_DIR
#   SOURCE     QEMU 10.x source tarball, or an unpacked tree (which gets a few small changes, see below)
#   BUILD_DIR  where things are built; a tarball is unpacked to BUILD_DIR/../../src
#
# Run again after any change: only what changed is built. Prints the path of qemu-system-x86_64 as the last line.
# Environment: JOBS (default 2), PYTHON (default python3), CARGO (default cargo).
# Needs the packages that cargo lab setup installs, and pip access to PyPI for meson, distlib and pycotap.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../../.." && pwd)
: "${JOBS:=2}" "${PYTHON:=python3}" "${CARGO:=cargo}"

if [ $# -ne 2 ]; then
    sed -n '3,12s/^# \{0,1\}//p' "$0" >&2
    exit 2
fi
source=$1
mkdir -p "$2"
build=$(cd "$2" && pwd)

step() { printf 'qemu: %s\n' "$*" >&2; }

# Replaces $2 by $1 only if they differ, so that ninja sees no change where there is none.
place() { cmp -s "$1" "$2" || cp "$1" "$2"; }

# The tree.
if [ -d "$source" ]; then
    tree=$(cd "$source" && pwd)
else
    mkdir -p "$build/../../src"
    src=$(cd "$build/../../src" && pwd)
    top=$(tar tf "$source" | sed -n '1s|/.*||p')
    tree=$src/$top
    if [ ! -e "$tree/.unpacked" ]; then
        step "unpacking $(basename "$source")"
        rm -rf "$tree"
        tar -C "$src" -xf "$source"
        touch "$tree/.unpacked"
    fi
fi

# Debian's tarball lacks the edk2 blobs, for which configure looks even if they are not to be installed.
sed -n "s/^    '\(edk2-.*\.fd\)',$/\1/p" "$tree/pc-bios/meson.build" | while read -r blob; do
    [ -e "$tree/pc-bios/$blob.bz2" ] || bzip2 </dev/null >"$tree/pc-bios/$blob.bz2"
done

# Defects of QEMU itself that the lab meets; each patch argues for itself. A file that a patch of this or of another checkout has
# touched is kept in .pristine as it was, so that every build starts from that.
sed -n 's|^+++ b/||p' "$here"/patches/*.patch | sort -u | while read -r file; do
    [ -e "$tree/.pristine/$file" ] || {
        mkdir -p "$tree/.pristine/$(dirname "$file")"
        cp "$tree/$file" "$tree/.pristine/$file"
    }
done
rm -rf "$build/patched"
cp -r "$tree/.pristine" "$build/patched"
for patch in "$here"/patches/*.patch; do
    patch --quiet --strip=1 --directory="$build/patched" <"$patch" >&2
done
(cd "$build/patched" && find . -type f) | while read -r file; do
    place "$build/patched/$file" "$tree/$file"
done

# The three changes: the device's file, its option, its line in the build.
target=${CARGO_TARGET_DIR:-$root/target}
lib=$build/libixgbe_model.a
place "$here/ixgbe.c" "$tree/hw/net/ixgbe.c"
place "$here/ixgbe_model.h" "$tree/hw/net/ixgbe_model.h"
if ! grep -q IXGBE_PCI_EXPRESS "$tree/hw/net/Kconfig"; then
    cat >>"$tree/hw/net/Kconfig" <<'END'

config IXGBE_PCI_EXPRESS
    bool
    default y if PCI_DEVICES || PCIE_DEVICES
    depends on PCI_EXPRESS && MSI_NONBROKEN
END
fi
sed '/^# ixgbe begin$/,/^# ixgbe end$/d' "$tree/hw/net/meson.build" >"$build/meson.build.new"
cat >>"$build/meson.build.new" <<END
# ixgbe begin
system_ss.add(when: 'CONFIG_IXGBE_PCI_EXPRESS', if_true: [
  files('ixgbe.c'),
  declare_dependency(link_args: ['$lib', '-ldl', '-lm']),
])
# ixgbe end
END
place "$build/meson.build.new" "$tree/hw/net/meson.build"

step "building the model"
"$CARGO" build --quiet --release --manifest-path "$root/Cargo.toml" --package ixgbe-model --target-dir "$target" >&2
place "$target/release/libixgbe_model.a" "$lib"

# QEMU's own Python parts come from PyPI where the tarball has no wheels.
venv=$build/../qemu-python
if [ ! -x "$venv/bin/meson" ] || [ ! -e "$venv/.complete" ]; then
    step "preparing meson"
    "$PYTHON" -m venv "$venv"
    "$venv/bin/pip" install --quiet 'meson>=1.5' distlib 'pycotap>=1.1' >&2
    touch "$venv/.complete"
fi
venv=$(cd "$venv" && pwd)

# The last three: what emulates is most of what the lab's figures measure; a blackout is shorter by 5 % with them.
options="--target-list=x86_64-softmmu --without-default-features --enable-tcg --enable-kvm --enable-virtfs \
--enable-attr --enable-cap-ng --enable-slirp --enable-plugins --disable-docs --disable-install-blobs \
--disable-stack-protector --disable-qom-cast-debug -Doptimization=3"
if [ ! -e "$build/build.ninja" ] || [ "$(cat "$build/.options" 2>/dev/null)" != "$options $tree" ]; then
    step "configuring"
    # Word splitting of $options is wanted.
    # shellcheck disable=SC2086
    (cd "$build" && "$tree/configure" --python="$venv/bin/python3" $options >configure.out 2>&1) || {
        tail -20 "$build/configure.out" >&2
        exit 1
    }
    echo "$options $tree" >"$build/.options"
fi

step "compiling"
ninja -C "$build" -j "$JOBS" qemu-system-x86_64 contrib-plugins test-plugins >"$build/ninja.out" 2>&1 || {
    tail -40 "$build/ninja.out" >&2
    exit 1
}
echo "$build/qemu-system-x86_64"
