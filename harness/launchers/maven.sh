#!/bin/sh
# Runs Maven in a home that is not the user's: `maven.sh prepare`, `maven.sh test … [-- CLASS …]`, or any other
# arguments.
#
# Java takes the home folder from the password file and not from HOME, so Maven is told where it is. The user's
# local repository is shared read-only; Maven wants to write into its own, which therefore starts as a copy
# made of links. The notes on where a file came from are left out: without them Maven takes what is there,
# offline too, and it never tries to write through a link.
set -eu

own="$HOME/.regreen-m2"
shared="$HOME/.m2/repository"
if [ ! -d "$own" ]; then
    mkdir -p "$own"
    if [ -d "$shared" ]; then
        cp -rs "$shared/." "$own/"
        find "$own" \( -name _remote.repositories -o -name '*.lastUpdated' -o -name '*.lock' \
            -o -name resolver-status.properties -o -name 'maven-metadata-*' \) -exec rm -f {} +
    fi
fi
# The build tool lives for seconds: its own JVM is quickest with the first compiler alone (two fifths of the CPU time less).
export MAVEN_OPTS="-XX:TieredStopAtLevel=1 -Duser.home=$HOME ${MAVEN_OPTS:-}"
export MAVEN_USER_HOME="$HOME/.m2"

maven() {
    if command -v mvn >/dev/null 2>&1; then
        mvn -B -Dstyle.color=never -Dmaven.repo.local="$own" "$@"
    elif [ -f mvnw ]; then
        sh ./mvnw -B -Dstyle.color=never -Dmaven.repo.local="$own" "$@"
    else
        echo "neither mvn nor ./mvnw is here" >&2
        return 127
    fi
}

# The modules, by their descriptions; build outputs and hidden folders hold none.
modules() {
    find . \( -name target -o -name '.?*' -o -name node_modules \) -prune -o -name pom.xml -print
}

# Everything that a later `mvn -o test` needs. `dependency:go-offline` does not know the provider that Surefire
# chooses when it runs (junit-platform, junit4, testng), and `-DskipTests` does not choose one. So the tests are
# run for real, with a selection that fits one empty class and no test of the repository. Nothing else is
# compiled that has to succeed: the repository may be broken, which is why we are here.
prepare() {
    probe="$(mktemp -d)"
    echo 'public class RegreenProbe { }' >"$probe/RegreenProbe.java"
    javac -d "$probe" "$probe/RegreenProbe.java"
    modules | while read -r pom; do
        module="$(dirname "$pom")"
        if [ -d "$module/src/test" ]; then
            mkdir -p "$module/target/test-classes"
            cp "$probe/RegreenProbe.class" "$module/target/test-classes/"
        fi
    done
    status=0
    maven -q test -Dtest=RegreenProbe -DfailIfNoTests=false -Dsurefire.failIfNoSpecifiedTests=false \
        -Dmaven.test.failure.ignore=true -Dmaven.compiler.failOnError=false ||
        # Another language's compiler may have stopped on what we are here to mend.
        maven -q dependency:go-offline || status=$?
    find . \( -name 'RegreenProbe.class' -o -name '*RegreenProbe.txt' -o -name 'TEST-RegreenProbe.xml' \) \
        -exec rm -f {} +
    rm -rf "$probe"
    return "$status"
}

# What stands behind `--` are classes to test, with the classes nested in them: -Dtest takes one list.
tests() {
    classes=""
    count=$#
    while [ "$count" -gt 0 ]; do
        argument="$1"
        shift
        count=$((count - 1))
        if [ "$argument" = -- ]; then
            while [ "$count" -gt 0 ]; do
                classes="$classes${classes:+,}$1,$1\$*"
                shift
                count=$((count - 1))
            done
        else
            set -- "$@" "$argument"
        fi
    done
    if [ -n "$classes" ]; then
        set -- "$@" "-Dtest=$classes"
    fi
    maven -o "$@"
}

case "$1" in
prepare)
    prepare
    ;;
test)
    # Reports of an earlier run say nothing about this one.
    find . -path '*/target/surefire-reports' -prune -exec rm -rf {} +
    tests "$@"
    ;;
*)
    maven -o "$@"
    ;;
esac
