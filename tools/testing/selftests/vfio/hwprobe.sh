#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Runs hwprobe on an 82599 that nobody uses, and prints a report to send in.
#
# usage: hwprobe.sh [-p] [-o FILE] [PF]
#   -p       ask to pull the cable out, and to plug it in again, for questions about
#            queues without a link
#   -o FILE  write the report to FILE as well
#   PF       PCI address; may be left out if the machine has one 82599
#
# The PF keeps its driver, any ixgbe. Its VFs are removed, and two new ones are given
# to user space. Its port needs a link: without one the device moves no frame.
set -u

KSFT_SKIP=4
cd "$(dirname "$0")" || exit 1

skip()
{
	echo "TAP version 13"
	# The lab says so, whose card is the only one and has all that is asked for.
	if [ -n "${KSFT_STRICT:-}" ]; then
		echo "1..1"
		echo "not ok 1 environment # $*"
		exit 1
	fi
	echo "1..0 # SKIP $*"
	exit $KSFT_SKIP
}

OUT=
PULL=
while getopts "o:p" opt; do
	case $opt in
	o) OUT=$OPTARG ;;
	p) PULL=-p ;;
	*) exit 1 ;;
	esac
done
shift $((OPTIND - 1))

# Device IDs of the 82599, from drivers/net/ethernet/intel/ixgbe/ixgbe_type.h.
IDS="10f7 10f8 10f9 10fb 10fc 1507 1514 1517 151c 1529 152a 1557 154a 154d 1558 154f"

pfs()
{
	local dev
	for dev in /sys/bus/pci/devices/*; do
		[ -e "$dev/sriov_totalvfs" ] && [ "$(cat "$dev/vendor")" = 0x8086 ] &&
			[[ " $IDS " == *" $(cut -c3- "$dev/device") "* ]] && basename "$dev"
	done
}

PFS=(${1:-$(pfs)})
[ ${#PFS[@]} -eq 1 ] || skip "name one of the 82599 here: ${PFS[*]:-none}"
PF=${PFS[0]}
DEV=/sys/bus/pci/devices/$PF
[ -e "$DEV/sriov_totalvfs" ] || skip "$PF has no SR-IOV"

# The lab's tests leave addresses behind; on a real machine they are a sign of use.
if [ -z "${LAB_HEAD_WRITE:-}" ]; then
	for net in "$DEV"/net/*; do
		[ -e "$net" ] || continue
		name=$(basename "$net")
		[ -z "$(ip -o addr show dev "$name" scope global)" ] && [ ! -e "$net/master" ] ||
			skip "$name is in use: take its addresses off, take it out of its bridge or bond"
	done
	[ "$(cat "$DEV/sriov_numvfs")" = 0 ] || skip "$PF has VFs already: remove them first"
fi

TMP=$(mktemp)
trap 'rm -f "$TMP"' EXIT
KSFT_PF_BDF=$PF ./ixgbe.sh -v -2 ./hwprobe $PULL -o "$TMP"
ret=$?

{
	for f in vendor device subsystem_vendor subsystem_device revision; do
		echo "$f: $(cat "$DEV/$f")"
	done
	net=$(ls "$DEV/net" 2>/dev/null | head -n 1)
	[ -n "$net" ] && ethtool -i "$net" | grep -E "^(driver|version|firmware-version):"
} | tee -a "$TMP" | sed "s/^/# report: /"
[ -n "$OUT" ] && cp "$TMP" "$OUT"
exit $ret
