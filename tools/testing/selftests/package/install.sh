#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# The packages on a bare Debian with Debian's own kernel: installed by apt without a network, used, and purged.
# Variables: PF_MODULE, VF_MODULE, VFIO_MODULE, names of this project's modules.
set -u
export DEBIAN_FRONTEND=noninteractive LC_ALL=C

release=$(uname -r)
n=0
failed=0
result() # STATUS NAME [COMMENT]
{
	n=$((n + 1))
	[ "$1" = ok ] || failed=1
	echo "$1 $n $2${3:+ # $3}"
}
check() # NAME COMMAND...
{
	name=$1
	shift
	if out=$("$@" 2>&1); then
		result ok "$name"
	else
		result "not ok" "$name" "$(echo "$out" | tail -n 3 | tr '\n' ' ')"
	fi
}
is() # NAME HAVE WANT
{
	if [ "$2" = "$3" ]; then result ok "$1"; else result "not ok" "$1" "\"$2\", and not \"$3\""; fi
}
driver() # ADDRESS
{
	basename "$(readlink "/sys/bus/pci/devices/$1/driver" || echo none)"
}
file() # MODULE
{
	modinfo -n "$1" | sed "s#.*/lib/modules/$release/##"
}
apt() { apt-get -y -o Dpkg::Use-Pty=0 "$@"; }
files() { find /etc /usr /var /run -xdev 2>/dev/null | sort; }
# What a driver of a card is loaded by at boot.
plug() { modprobe -b "$(cat "/sys/bus/pci/devices/$pf/modalias")"; }
unplug() { rmmod ixgbe 2>/dev/null; rmmod "$PF_MODULE" 2>/dev/null; true; }

echo "TAP version 13"
echo "1..19"
# 8086:10f7 and its like: the one with VFs that is no VF.
pf=
for dev in /sys/bus/pci/devices/*; do
	[ "$(cat "$dev/vendor")" = 0x8086 ] && [ "$(cat "$dev/class")" = 0x020000 ] && [ -e "$dev/sriov_totalvfs" ] && pf=${dev##*/}
done
check "there is a card" test -n "$pf"
plug
is "before: the kernel's own driver" "$(driver "$pf")" ixgbe
unplug
files >/tmp/before

cd /lab/packages || exit 1
check "apt installs the packages without a network" apt install ./*.deb
is "these modules and no other" "$(ls "/lib/modules/$release/updates/ixgbe-rust" | tr '\n' ' ')" \
	"ixgbe-vfio-pci.ko ixgbe_rust.ko ixgbevf_rust.ko vfio.ko "
is "depmod prefers nothing to the C driver" "$(file ixgbe)" kernel/drivers/net/ethernet/intel/ixgbe/ixgbe.ko.xz
is "VFIO core is the one that logs" "$(file vfio)" updates/ixgbe-rust/vfio.ko
plug
is "the card has our driver, as modprobe.d says" "$(driver "$pf")" "$PF_MODULE"
check "the C driver is loaded beside it" test -d /sys/module/ixgbe
unplug

conf=/etc/modprobe.d/ixgbe-rust.conf
cp /usr/share/ixgbe-rust/ixgbe-c-first.conf $conf
plug
is "with the other choice in modprobe.d: the C driver" "$(driver "$pf")" ixgbe
unplug
cp /usr/share/ixgbe-rust/ixgbe-rust-first.conf $conf
plug

check "ixgbe-migrate makes VFs" ixgbe-migrate prepare --vfs 2 --vf 0,mac=02:00:00:00:00:a0 --vf 1
vf=$(basename "$(readlink "/sys/bus/pci/devices/$pf/virtfn0")")
is "VF 0 has the VFIO driver" "$(driver "$vf")" "$VFIO_MODULE"
check "ixgbe-migrate shows it" sh -c "ixgbe-migrate status | grep -q '02:00:00:00:00:a0.*migratable'"
check "the man page is there" test -s /usr/share/man/man1/ixgbe-migrate-prepare.1.gz
/usr/lib/ixgbe-rust/hand-back >/tmp/said 2>&1
check "with VFs nothing is handed back, and that is told" grep -q "$pf (it has VFs)" /tmp/said
is "VF 0 still has it" "$(driver "$vf")" "$VFIO_MODULE"
check "ixgbe-migrate puts back what was there" ixgbe-migrate release

check "apt purges the packages" apt purge ixgbe-migrate "ixgbe-rust-modules-$release" ixgbe-rust-common
is "the card has the kernel's own driver" "$(driver "$pf")" ixgbe
files >/tmp/after
# Files that dpkg, apt and depmod keep for themselves.
left=$(comm -13 /tmp/before /tmp/after | grep -vE '^/var/(lib/dpkg|lib/apt|cache|log)|^/usr/lib/modules/[^/]*/modules\.' | tr '\n' ' ')
is "nothing is left" "$left" ""
exit $failed
