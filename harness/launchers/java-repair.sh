#!/bin/sh
# Compiles the warm judge of the repair engine, once in a home, and runs it: `java-repair.sh maven|gradle --launchers …`.
set -eu
here="$(dirname "$0")"
classes="$HOME/.regreen-repair/classes"
[ -d "$classes" ] || javac -d "$classes" "$here"/RegreenRepair*.java
exec java -XX:TieredStopAtLevel=1 -cp "$classes" regreen.repair.RegreenRepair "$@"
