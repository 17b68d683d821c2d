# Shared by the scripts of this folder; sourced, never run.
# shellcheck shell=bash

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

# say WORDS: one line for the person at the terminal; stdout stays free for results.
say() { printf '%s\n' "$*" >&2; }

# die WORDS: ends with 1; usage_error WORDS: ends with 2, for something wrong on the command line.
die() {
    say "${0##*/}: $*"
    exit 1
}
usage_error() {
    say "${0##*/}: $*"
    say "Try: ${0##*/} --help"
    exit 2
}

# print_help FILE: the comment block at the top of a script is its help page.
print_help() { sed -n '2,/^[^#]/{/^#/!d;s/^# \{0,1\}//;p}' "$1"; }

# build_preset PRESET [TARGET...]: configures if needed and builds, quietly unless it fails. One build of a
# preset at a time, so that scripts may run side by side.
build_preset() {
    local preset=$1 log
    shift
    mkdir -p "$root/build"
    log=$root/build/$preset.log
    (
        flock 9
        cd "$root" || exit 1
        if ! { cmake --preset "$preset" && cmake --build --preset "$preset" ${1:+--target "$@"}; } \
            >"$log" 2>&1; then
            grep -E -B1 -A12 'error|FAILED|CMake Error' "$log" | tail -n 80 >&2 || tail -n 40 "$log" >&2
            die "the $preset build failed; all of its output is in build/$preset.log"
        fi
    ) 9>"$root/build/$preset.lock"
}

# http_status HOST PORT PATH: prints the status of a GET, empty when nobody answers. Needs no curl.
http_status() {
    local line=""
    {
        printf 'GET %s HTTP/1.1\r\nHost: %s:%s\r\nConnection: close\r\n\r\n' "$3" "$1" "$2" >&8
        IFS= read -r -t 2 line <&8
    } 2>/dev/null 8<>"/dev/tcp/$1/$2" || true
    line=${line#HTTP/1.? }
    printf '%s' "${line%% *}"
}
