#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# check.sh TEST STAMP COMPILER…
#
# Compiles TEST twice. As it is it must compile; with --cfg misuse it must fail, with just the error
# that its line "//! misuse: E…" names. See README.rst.

test=$1 stamp=$2
shift 2
code=$(sed -n 's,^//! misuse: \(E[0-9]*\)$,\1,p' "$test")
if [ -z "$code" ]; then
	echo "$test: no line \"//! misuse: E…\"" >&2
	exit 1
fi
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT
# An object and not only metadata: what is asserted of a generic parameter is looked at last. The folder is for what the
# compiler writes meanwhile, under the same names in each of the tests that make runs at a time.
compile() {
	"$@" --cap-lints=allow --crate-name=compile_fail --crate-type=rlib --out-dir="$tmp" --emit=obj="$tmp/o" "$test"
}

if ! compile "$@" 2>"$tmp/pass"; then
	cat "$tmp/pass" >&2
	echo "$test: does not compile as it is" >&2
	exit 1
fi
if compile "$@" --cfg=misuse 2>"$tmp/fail"; then
	echo "$test: the misuse compiles" >&2
	exit 1
fi
found=$(sed -n 's/^error\[\(E[0-9]*\)\].*/\1/p' "$tmp/fail" | sort -u)
if [ "$found" != "$code" ]; then
	cat "$tmp/fail" >&2
	echo "$test: $code expected" >&2
	exit 1
fi
touch "$stamp"
