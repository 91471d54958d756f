#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Builds QEMU with the software 82599.
#
# Usage: build.sh SOURCE BUILD_DIR [fixes|fast]
#   SOURCE     QEMU 10.0.x source tarball, or an unpacked tree, which is changed (see below)
#   BUILD_DIR  a tarball is unpacked to BUILD_DIR/source, and QEMU built in BUILD_DIR/build
#   fixes      with patches/fixes alone (the default): figures are those of this one
#   fast       with patches/speed on top and optimised further
#
# Run again after any change: only what changed is built. Prints the path of qemu-system-x86_64 as the last line.
# Environment: JOBS (default 2), PYTHON (default python3), CARGO (default cargo).
# Needs the packages that cargo lab setup installs, and pip access to PyPI for what requirements.txt lists.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../../.." && pwd)
: "${JOBS:=2}" "${PYTHON:=python3}" "${CARGO:=cargo}"

kind=${3:-fixes}
case $#,$kind in
2,fixes | 3,fixes) patches="$here"/patches/fixes ;;
3,fast) patches="$here/patches/fixes $here/patches/speed" ;;
*)
	sed -n '3,15s/^# \{0,1\}//p' "$0" >&2
	exit 2
	;;
esac
source=$1
mkdir -p "$2/build"
top=$(cd "$2" && pwd)
build=$top/build

step() { printf 'qemu: %s\n' "$*"; }

# Replaces $2 by $1 only if they differ, so that ninja sees no change where there is none.
place() { cmp -s "$1" "$2" || cp "$1" "$2"; }

# The tree.
if [ -d "$source" ]; then
	tree=$(cd "$source" && pwd)
else
	tree=$top/source
	if [ "$(cat "$tree/.unpacked" 2>/dev/null)" != "$source" ]; then
		step "unpacking $(basename "$source")"
		rm -rf "$tree"
		mkdir "$tree"
		tar -C "$tree" --strip-components=1 -xf "$source"
		echo "$source" >"$tree/.unpacked"
	fi
fi

# Debian's tarball lacks the edk2 blobs, for which configure looks even if they are not to be installed.
sed -n "s/^    '\(edk2-.*\.fd\)',$/\1/p" "$tree/pc-bios/meson.build" | while read -r blob; do
	[ -e "$tree/pc-bios/$blob.bz2" ] || bzip2 </dev/null >"$tree/pc-bios/$blob.bz2"
done

# The patches, each of which argues for itself. A file that a patch of this or of another checkout has touched is kept in
# .pristine as it was, so that every build starts from that. No fuzz: a patch that does not fit exactly may not do what it says.
# Word splitting of $patches is wanted here and below.
# shellcheck disable=SC2086
find $patches -name '*.patch' -exec sed -n 's|^+++ b/||p' {} + | sort -u | while read -r file; do
	[ -e "$tree/.pristine/$file" ] || {
		mkdir -p "$tree/.pristine/$(dirname "$file")"
		cp "$tree/$file" "$tree/.pristine/$file"
	}
done
rm -rf "$build/patched"
cp -r "$tree/.pristine" "$build/patched"
for dir in $patches; do
	for patch in "$dir"/*.patch; do
		patch --quiet --fuzz=0 --strip=1 --directory="$build/patched" <"$patch" >"$build/patch.out" 2>&1 || {
			cat "$build/patch.out" >&2
			echo "$(basename "$patch") does not fit $(basename "$source"): it was made for what pins.sha256 names" >&2
			exit 1
		}
	done
done
(cd "$build/patched" && find . -type f ! -name '*.orig') | while read -r file; do
	place "$build/patched/$file" "$tree/$file"
done

# The device's file, its option, its line in the build, and which other devices there are.
target=${CARGO_TARGET_DIR:-$root/target}
lib=$build/libixgbe_model.a
place "$here/ixgbe.c" "$tree/hw/net/ixgbe.c"
place "$here/ixgbe_model.h" "$tree/hw/net/ixgbe_model.h"
place "$here/lab.mak" "$tree/configs/devices/x86_64-softmmu/lab.mak"
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
venv=$top/python
if ! cmp -s "$here/requirements.txt" "$venv/.complete"; then
	step "preparing meson"
	rm -rf "$venv"
	"$PYTHON" -m venv "$venv"
	"$venv/bin/pip" install --quiet --no-deps --require-hashes -r "$here/requirements.txt" >&2
	cp "$here/requirements.txt" "$venv/.complete"
fi

# Only what a host of the lab has, see lab.mak; no debug information, since the lab strips the program.
options="--target-list=x86_64-softmmu --without-default-features --without-default-devices --with-devices-x86_64=lab \
--enable-tcg --enable-kvm --enable-virtfs --enable-attr --enable-cap-ng --enable-slirp --enable-plugins \
--disable-docs --disable-install-blobs --disable-debug-info"
# What emulates is most of what the lab's durations measure: with these a blackout is shorter by 5 %.
if [ "$kind" = fast ]; then
	options="$options --disable-stack-protector --disable-qom-cast-debug -Doptimization=3"
fi
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
# ninja tells how far it is, "[n/m]"; the lab shows the last line.
{ ninja -C "$build" -j "$JOBS" qemu-system-x86_64 2>&1 || echo failed >"$build/.failed"; } | tee "$build/ninja.out"
if [ -e "$build/.failed" ]; then
	rm -f "$build/.failed"
	tail -40 "$build/ninja.out" >&2
	exit 1
fi
echo "$build/qemu-system-x86_64"
