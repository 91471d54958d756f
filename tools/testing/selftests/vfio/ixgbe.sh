#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Prepares VFs of one or two 82599 for user space and runs a test program on them.
#
# usage: ixgbe.sh [-v] [-2 | -n COUNT] [-r WAY | -e WAY] [-f PERCENT] PROGRAM [ARG...]
#   -v  bind the VFs to vfio-pci instead of the variant driver
#   -2  two VFs of the first PF, instead of one VF of each PF
#   -n  so many VFs of each PF, those of the first PF first
#   -r  set head_restore to this: write, rearm or reset
#   -e  leave head_restore as it is, and expect that this comes of it
#   -f  load the variant driver with follow_cpu set to this, and say so in KSFT_FOLLOW
#
# Variables:
#   KSFT_PF_BDF       the PF to use (default: each Intel function that has SR-IOV)
#   KSFT_PF_MODULE    PF driver, name or .ko (default ixgbe)
#   KSFT_VFIO_MODULE  variant driver, name or .ko (default: ixgbe-vfio-pci, from where the PF driver is)
#   KSFT_RESTORE      what the program expects; set by -r and -e
#   KSFT_STRICT       what is missing is a failure, not a skip
#   KSFT_PEER_IF      interface at the other end of the wire; found if there is one virtio-net
set -u

KSFT_SKIP=4
PF_MODULE=${KSFT_PF_MODULE:-ixgbe}
case $PF_MODULE in
*/*) VFIO_MODULE=${KSFT_VFIO_MODULE:-$(dirname "$PF_MODULE")/ixgbe-vfio-pci.ko} ;;
*) VFIO_MODULE=${KSFT_VFIO_MODULE:-ixgbe-vfio-pci} ;;
esac
DRIVER=
BOTH_OF_ONE=
COUNT=1
HEAD_RESTORE=
FOLLOW=()
unset KSFT_FOLLOW

while getopts "v2n:r:e:f:" opt; do
	case $opt in
	v) DRIVER=vfio-pci ;;
	2) BOTH_OF_ONE=y ;;
	n) COUNT=$OPTARG ;;
	r) HEAD_RESTORE=$OPTARG; export KSFT_RESTORE=$OPTARG ;;
	e) export KSFT_RESTORE=$OPTARG ;;
	f) FOLLOW=("follow_cpu=$OPTARG"); export KSFT_FOLLOW=$OPTARG ;;
	*) exit 1 ;;
	esac
done
shift $((OPTIND - 1))

# The machine lacks something. KSFT_STRICT says that it does not, so that this is a failure.
unmet()
{
	echo "TAP version 13"
	if [ -n "${KSFT_STRICT:-}" ]; then
		echo "1..1"
		echo "not ok 1 environment # $*"
		exit 1
	fi
	echo "1..0 # SKIP $*"
	exit $KSFT_SKIP
}

load()	# MODULE [PARAMETER...]
{
	local name
	name=$(basename "$1" .ko)
	[ -d "/sys/module/${name//-/_}" ] && return
	case $1 in
	*/*)
		for dep in $(modinfo -F depends "$1" | tr , ' '); do
			# One that was loaded from a file, modprobe does not know.
			[ -d "/sys/module/${dep//-/_}" ] || modprobe "$dep" || return
		done
		insmod "$@"
		;;
	*)
		modprobe "$@"
		;;
	esac
}

pfs()
{
	local dev
	if [ -n "${KSFT_PF_BDF:-}" ]; then
		echo "$KSFT_PF_BDF"
		return
	fi
	for dev in /sys/bus/pci/devices/*; do
		[ -e "$dev/sriov_totalvfs" ] && [ "$(cat "$dev/vendor")" = 0x8086 ] &&
			basename "$dev"
	done
}

virtio_netdev()
{
	local net
	for net in /sys/class/net/*; do
		case $(readlink "$net/device/driver" 2>/dev/null) in
		*/virtio_net) basename "$net"; return ;;
		esac
	done
}

modprobe vfio-pci || unmet "no vfio-pci"
# First: the variant driver uses its symbols.
load "$PF_MODULE" || unmet "no $PF_MODULE"
if [ -z "$DRIVER" ]; then
	# Its parameters are those of when it was loaded. An earlier test may have had others.
	name=$(basename "$VFIO_MODULE" .ko)
	[ -d "/sys/module/${name//-/_}" ] && rmmod "$name"
	load "$VFIO_MODULE" ${FOLLOW[@]+"${FOLLOW[@]}"} || unmet "no $VFIO_MODULE"
	# A driver is named as its module is in the kernel, with underscores.
	DRIVER=$(basename "$VFIO_MODULE" .ko)
	DRIVER=${DRIVER//-/_}
fi

# An earlier test may have moved it away.
if [ -z "$(virtio_netdev)" ] && [ -e /run/netns/peer ]; then
	ip netns del peer
	# Its interfaces come back from a work.
	for _ in $(seq 600); do
		[ -n "$(virtio_netdev)" ] && break
		sleep 0.1
	done
fi
export KSFT_PEER_IF=${KSFT_PEER_IF:-$(virtio_netdev)}
[ -n "$KSFT_PEER_IF" ] && ip link set "$KSFT_PEER_IF" up

head_restore()	# PF WAY
{
	devlink dev param set "pci/$1" name head_restore value "$2" cmode runtime 2>/dev/null
}

vf_of()	# PF INDEX
{
	local vf
	vf=$(basename "$(readlink "/sys/bus/pci/devices/$1/virtfn$2")")
	if [ "$DRIVER" != vfio-pci ]; then
		devlink port function set "${PORTS[$1/$2]}" migratable enable || return
	fi
	echo "$DRIVER" > "/sys/bus/pci/devices/$vf/driver_override"
	[ -e "/sys/bus/pci/devices/$vf/driver" ] &&
		echo "$vf" > "/sys/bus/pci/devices/$vf/driver/unbind"
	echo "$vf" > /sys/bus/pci/drivers_probe
	echo "$vf"
}

# The devlink port of each VF, by PF/INDEX.
declare -A PORTS
find_ports()
{
	local pf vf port
	while read -r pf vf port; do
		PORTS[$pf/$vf]=$port
	done < <(devlink -j port show | python3 -c '
import json, sys
for name, port in json.load(sys.stdin)["port"].items():
    if port.get("flavour") == "pcivf":
        print(name.split("/")[1], port["vfnum"], name)
')
}

PFS=($(pfs))
[ ${#PFS[@]} -gt 0 ] || unmet "no PF"
[ -n "$BOTH_OF_ONE" ] && PFS=("${PFS[0]}" "${PFS[0]}")

# A VF that is bound to a VF driver for the kernel would not be there for us.
for pf in $(printf '%s\n' "${PFS[@]}" | sort -u); do
	echo 0 > "/sys/bus/pci/devices/$pf/sriov_numvfs"
	echo 0 > "/sys/bus/pci/devices/$pf/sriov_drivers_autoprobe"
	netdev=$(ls "/sys/bus/pci/devices/$pf/net")
	ip link set "$netdev" up
	# The 82599 shuts out a VF whose frames are larger than the PF's, and the reverse.
	ip link set "$netdev" mtu 1500
	echo $((COUNT > 2 ? COUNT : 2)) > "/sys/bus/pci/devices/$pf/sriov_numvfs"
	# What an earlier test has set is not what this one asks for.
	if ! head_restore "$pf" "${HEAD_RESTORE:-auto}"; then
		[ -n "$HEAD_RESTORE" ] && unmet "no parameter head_restore"
	fi
done

find_ports
VFS=()
index=0
for pf in "${PFS[@]}"; do
	for ((i = index; i < index + COUNT; i++)); do
		vf=$(vf_of "$pf" $i) || unmet "cannot prepare VF $i of $pf"
		VFS+=("$vf")
	done
	[ -n "$BOTH_OF_ONE" ] && index=$((index + COUNT))
done

# PFs answer their VFs only with the link up.
for pf in "${PFS[@]}"; do
	netdev=$(ls "/sys/bus/pci/devices/$pf/net")
	for _ in $(seq 600); do
		[ "$(cat "/sys/class/net/$netdev/carrier" 2>/dev/null)" = 1 ] && break
		sleep 0.1
	done
done

# Tells of frames that found no descriptor in their queue, or no room before.
drops()
{
	local pf
	for pf in $(printf '%s\n' "${PFS[@]}" | sort -u); do
		ethtool -S "$(ls "/sys/bus/pci/devices/$pf/net")" |
			awk -v pf="$pf" '$1 ~ /^rx_(no_dma_resources|missed_errors):/ && $2 { print "# " pf, $0 }'
	done
}

"$@" "${VFS[@]}"
ret=$?
drops

for pf in $(printf '%s\n' "${PFS[@]}" | sort -u); do
	echo 0 > "/sys/bus/pci/devices/$pf/sriov_numvfs"
	echo 1 > "/sys/bus/pci/devices/$pf/sriov_drivers_autoprobe"
	[ -n "$HEAD_RESTORE" ] && head_restore "$pf" auto
done
exit $ret
