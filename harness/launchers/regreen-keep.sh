#!/bin/sh
# Keeps a test program that is about to be run, and beside it how: a script, which may be given more arguments
# (`go test -exec`).
set -eu
kept=$REGREEN_KEPT/$$
cp "$1" "$kept"
shift
quoted() {
    for word in "$@"; do
        printf " '%s'" "$(printf %s "$word" | sed "s/'/'\\\\''/g")"
    done
}
printf 'cd%s && exec%s "$@"\n' "$(quoted "$PWD")" "$(quoted "$kept" "$@")" >"$kept.sh"
