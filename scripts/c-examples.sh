#!/usr/bin/env bash
# The C examples, each against servers of its own with a real failover.
#   scripts/c-examples.sh
# FAILOVER_LIBDIR=: the folder with the library and failover.pc (target/capi/dev, by scripts/library.sh dev). FAILOVER_LAB=: the program
# that starts the pair (target/debug/examples/lab, by cargo build --example lab).
set -euo pipefail
cd "$(dirname "$0")/.."

libdir=$(realpath "${FAILOVER_LIBDIR:-target/capi/dev}")
lab=$(realpath "${FAILOVER_LAB:-target/debug/examples/lab}")
for file in "$libdir/failover.pc" "$lab"; do
    if [ ! -e "$file" ]; then
        echo "c-examples.sh: $file is missing: run scripts/library.sh dev and cargo build --example lab" >&2
        exit 1
    fi
done
export PKG_CONFIG_PATH=$libdir LD_LIBRARY_PATH=$libdir
work=$(mktemp -d)
program=''
ended() {
    [ -z "$program" ] || kill "$program" 2> /dev/null || true
    rm -rf "$work"
}
trap ended EXIT

place() { # place EXPRESSION: of the line that the lab prints first, as `at`
    python3 -c "import json, sys; at = json.loads(sys.argv[1]); print($1)" "$where"
}

heard() { # heard WORDS: reads what the example prints until a line has them
    local line
    while IFS= read -r -t 120 line <&"$said"; do
        printf '   %s\n' "$line"
        [[ $line != *"$1"* ]] || return 0
    done
    echo "c-examples.sh: \"$1\" was never said" >&2
    return 1
}

preflight() { # preflight CODE WORDS [SERVICE]: ends with this code, and prints a report with these words
    local printed code=0
    printed=$(timeout 120 "$work/preflight" "$config" "${@:3}") || code=$?
    printf '   preflight %s: %s\n' "${3:-}" "$code"
    if [ "$code" != "$1" ] || [[ $printed != *"$2"* ]]; then
        printf '%s\nc-examples.sh: preflight: no %s, or not the exit code %s\n' "$printed" "$2" "$1" >&2
        exit 1
    fi
}

echo '== examples/c/preflight.c'
read -ra flags <<< "$(pkg-config --cflags --libs failover)"
cc -std=gnu11 -Wall -Wextra -Werror -g examples/c/preflight.c -o "$work/preflight" "${flags[@]}"

for example in callback event_loop host_check application; do
    echo "== examples/c/$example.c"
    read -ra flags <<< "$(pkg-config --cflags --libs failover)"
    cc -std=gnu11 -Wall -Wextra -Werror -g "examples/c/$example.c" -o "$work/$example" "${flags[@]}"
    # In a group of its own: who interrupts this script ends its input, and with that the servers.
    mode=() active=db1 standby=db2
    ready='primary of orders: db1; if it died now: a failover' followed='primary of orders: db2'
    if [ "$example" = application ]; then
        mode=(application) active=app1 standby=app2
        ready='ready: another server would take over' followed='answered by app2'
    fi
    coproc LAB { exec setsid "$lab" ${mode[0]+"${mode[@]}"} 2> "$work/lab"; }
    # shellcheck disable=SC2153 # bash sets it
    lab_pid=$LAB_PID
    # shellcheck disable=SC2034 # used through `place`
    read -r -t 300 where <&"${LAB[0]}" || { cat "$work/lab" >&2; exit 1; }
    config=$(place 'at["config"]')
    arguments=("$config")
    if [ "$example" = callback ]; then
        preflight 0 '"all_up":true'
        preflight 0 '"candidate":"db2"' orders
    fi
    if [ "$example" = application ] || [ "$example" = host_check ]; then
        mapfile -t -O 1 arguments < <(place '"\n".join("%s=%s:%s" % (s["name"], s["host"], s["port"]) for s in at["servers"])')
    fi
    if [ "$example" = host_check ]; then
        arguments[0]=$work/failover.toml
        install -m 600 "$config" "$work/failover.toml"
        for server in db1 db2; do
            printf '\n[[services.checks]]\nname = "accepts-%s"\nserver = "%s"\nkind = "host"\nfunction = "accepts"\n' "$server" "$server"
        done >> "$work/failover.toml"
    fi
    exec {said}< <(exec timeout 300 "$work/$example" "${arguments[@]}" 2>&1)
    program=$!
    heard "$ready"
    echo "kill $active" >&"${LAB[1]}"
    read -r -t 60 answer <&"${LAB[0]}"
    [ "$answer" = ok ] || { echo "c-examples.sh: the lab: $answer" >&2; exit 1; }
    heard "$followed"
    [ "$example" != callback ] || preflight 1 '"code":"check_not_up"' orders
    [ "$example" != event_loop ] || heard 'traffic 100 %'
    if [ "$example" = application ]; then
        # The load balancers follow in the same step.
        until echo answers >&"${LAB[1]}" && read -r -t 60 answer <&"${LAB[0]}" && [ "$answer" = "$standby $standby" ]; do
            [ "$SECONDS" -lt 300 ] || { echo "c-examples.sh: through the load balancers answers $answer" >&2; exit 1; }
            sleep 0.1
        done
    fi
    kill "$program"
    wait "$program" || { echo "c-examples.sh: $example ended with $?" >&2; exit 1; }
    program=''
    exec {said}<&-
    asks=${LAB[1]}
    exec {asks}>&-
    wait "$lab_pid"
done
echo 'the C examples: all followed their primary'
