#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# stock-kdir.sh RELEASE SOURCE DIR
#
# Makes DIR/build, a KDIR for Rust modules of Debian's own kernel RELEASE (7.3.4+deb13-amd64), without building that
# kernel: the headers packages have everything but the Rust crates, which are compiled here from SOURCE, the unpacked
# linux-source of the same version. Needs linux-headers-RELEASE, and rustc, rust-src, bindgen, rustfmt and gcc of the
# versions that the kernel was built with: those of the same Debian release. Environment: JOBS.
set -eu

release=$1 source=$2
mkdir -p "$3"
out=$(realpath "$3")
abi=${release%-*}                                # 7.3.4+deb13
headers=/usr/src/linux-headers-$release
common=/usr/src/linux-headers-$abi-common
kbuild=/usr/lib/linux-kbuild-$abi
src=$out/src build=$out/build

# The names of symbols have the compiler's version string in them, and the order in which bindgen wrote the bindings.
grep -qx 'CONFIG_RUST=y' "$headers/.config" || { echo "$release has no Rust" >&2; exit 1; }
for tool in rustc bindgen; do
	name=$(echo "$tool" | tr a-z A-Z)
	want=$(sed -n "s/^CONFIG_${name}_VERSION_TEXT=\"\(.*\)\"/\1/p" "$headers/.config")
	have=$($tool --version)
	[ "$have" = "$want" ] || { echo "$release was built with $want, this is $have" >&2; exit 1; }
done

rm -rf "$src" "$build"
mkdir -p "$src/scripts" "$src/drivers/android" "$src/drivers/base" "$build/scripts" "$build/rust"

# What the headers packages leave out.
cp -r "$source/rust" "$src/"
cp "$source/scripts/generate_rust_target.rs" "$source/scripts/rust_is_available_bindgen_libclang.h" "$src/scripts/"
cp -r "$source/drivers/android/binder" "$src/drivers/android/"
cp "$source/drivers/base/base.h" "$src/drivers/base/"

# The libraries of the proc macros run here, while crates are compiled, and are in no kernel. To optimise them takes longer
# than all that they do. A kernel whose rule reads otherwise is built more slowly.
sed -i 's/--crate-type rlib -O /--crate-type rlib -Copt-level=0 /' "$src/rust/Makefile"

# The source side. Folders must be real: bindings_helper.h includes <../../drivers/base/base.h>, which is found next to
# include.
cp -rs "$common/include" "$common/arch" "$src/"
ln -s "$kbuild/tools" "$src/tools"
for f in "$kbuild"/scripts/*; do
	[ -e "$src/scripts/${f##*/}" ] || ln -s "$f" "$src/scripts/"
done
{
	cat "$common/Makefile"
	printf '\nifneq ($(need-sub-make),1)\n.PHONY: rust-crates\nrust-crates:\n\t$(Q)$(MAKE) $(build)=rust\nendif\n'
} >"$src/Makefile"

# The build side: Debian's configuration as it is. Configuring again drops what this machine's tools lack (no pahole: no
# BTF, no sched_ext, another task_struct).
cp -a "$headers/.config" "$headers/.kernelvariables" "$headers/include" "$headers/arch" "$headers/Module.symvers" "$build/"
[ ! -e "$headers/vmlinux" ] || ln -s "$headers/vmlinux" "$build/vmlinux" # BTF alone, for the modules' BTF
ln -s "$kbuild/tools" "$build/tools"
ln -s "$kbuild"/scripts/* "$build/scripts/"
sed "s#$headers#$build#; s#$common#$src#" "$headers/Makefile" >"$build/Makefile"
rustc --edition=2021 -O -o "$build/scripts/generate_rust_target" "$src/scripts/generate_rust_target.rs"
"$build/scripts/generate_rust_target" <"$build/include/config/auto.conf" >"$build/scripts/target.json"

# No syncconfig, for which there are no Kconfig files. need-compiler, since may-sync-config= empties it, and without it
# no flag depends on the compiler (no fentry). Modules need what the crates say of themselves (rmeta), and the kernel has
# their code: of ours the names alone are looked at below, which LLVM's passes and debug information do not change.
make -C "$build" KRUSTFLAGS="-Cno-prepopulate-passes -Cdebuginfo=0" may-sync-config= need-compiler=1 -j"${JOBS:-$(nproc)}" rust-crates

# Are they the crates that are in that kernel?
sed -n 's/^EXPORT_SYMBOL_RUST_GPL(\(.*\));/\1/p' "$build"/rust/exports_*_generated.h | LC_ALL=C sort -u >"$out/ours"
cut -f2 "$build/Module.symvers" | LC_ALL=C sort -u >"$out/theirs"
foreign=$(LC_ALL=C comm -23 "$out/ours" "$out/theirs")
if [ -n "$foreign" ]; then
	printf '%s does not export:\n%s\n' "$release" "$foreign" >&2
	exit 1
fi
echo "$release exports all $(wc -l <"$out/ours") symbols of the crates: $build is ready"
