#!/bin/sh
# Runs Gradle in a home that is not the user's: `gradle.sh prepare`, `gradle.sh test … [-- CLASS …]`, or any other
# arguments.
#
# Java takes the home folder from the password file and not from HOME, so Gradle is told where it is. The
# user's downloads are shared read-only; Gradle wants to write into its own cache, which therefore starts as a
# copy: the files as links, the index, which has locks, for real.
set -eu

here="$(dirname "$0")"
shared="$HOME/.gradle"
own="$HOME/.regreen-gradle"
if [ ! -d "$own" ]; then
    mkdir -p "$own/caches/modules-2" "$own/wrapper/dists"
    if [ -d "$shared/caches/modules-2/files-2.1" ]; then
        cp -rs "$shared/caches/modules-2/files-2.1" "$own/caches/modules-2/"
        for index in "$shared"/caches/modules-2/metadata-*; do
            [ -d "$index" ] && cp -r "$index" "$own/caches/modules-2/"
        done
    fi
    if [ -d "$shared/wrapper/dists" ]; then
        cp -rs "$shared/wrapper/dists/." "$own/wrapper/dists/"
        find "$own/wrapper/dists" -name '*.lck' -exec rm -f {} +
    fi
fi
export GRADLE_USER_HOME="$own"
# The build tool lives for seconds: its own JVM is quickest with the first compiler alone (two fifths of the CPU time less).
export GRADLE_OPTS="-XX:TieredStopAtLevel=1 -Duser.home=$HOME ${GRADLE_OPTS:-}"

# The repository's own wrapper first: builds fit one version of Gradle and often no other.
gradle_here() {
    if [ -f gradlew ]; then
        sh ./gradlew --no-daemon --console=plain "$@"
    elif command -v gradle >/dev/null 2>&1; then
        gradle --no-daemon --console=plain "$@"
    else
        echo "neither ./gradlew nor gradle is here" >&2
        return 127
    fi
}

# What stands behind `--` are classes to test, and each needs an option of its own.
tests() {
    count=$#
    chosen=""
    while [ "$count" -gt 0 ]; do
        argument="$1"
        shift
        count=$((count - 1))
        if [ "$argument" = -- ]; then
            chosen=yes
        elif [ -n "$chosen" ]; then
            set -- "$@" --tests "$argument"
        else
            set -- "$@" "$argument"
        fi
    done
    gradle_here --offline --no-build-cache "$@"
}

case "$1" in
prepare)
    # Resolves dependencies without compiling: the repository may be broken, which is why we are here.
    gradle_here -q -I "$here/resolve.gradle" regreenResolve
    ;;
test)
    # Reports of an earlier run say nothing about this one; without them, no test task is up to date either.
    find . -path '*/build/test-results' -prune -exec rm -rf {} +
    tests "$@"
    ;;
*)
    gradle_here --offline --no-build-cache "$@"
    ;;
esac
