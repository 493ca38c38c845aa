#!/usr/bin/env bash
# Real failovers on every PostgreSQL that a registry has as a package: kill, hang, restart, salvage, second failover; and 12 is refused by name.
#   scripts/versions.sh            VERSIONS="13 18": only these
# Ends with a table, and why each failed test failed; all that the tests said is in target/versions.
set -euo pipefail
cd "$(dirname "$0")/.."

read -ra versions <<< "${VERSIONS:-12 13 14 15 16 17 18}"
logs=target/versions
rm -rf "$logs"
mkdir -p "$logs"

declare -A tests=(
    [start]='harness a_server_is_of_the_version_whose_programs_are_named'
    [kill]='faults a_killed_primary_is_replaced'
    [hang]='faults a_hung_primary_is_killed_for_good_and_replaced'
    [restart]='faults a_clean_restart_changes_nothing'
    [salvage]='salvage what_only_a_killed_primary_has_is_salvaged'
    [second]='three_servers a_second_failover_goes_through_as_promised'
    [refused]='command_line doctor::a_server_that_is_too_old_is_refused_by_name'
)
columns=(start kill hang restart salvage second refused)
programs=(--test harness --test faults --test salvage --test three_servers --test command_line)

echo 'versions: building (the first time takes some minutes)'
scripts/cargo.sh build --locked --quiet --bin failover
scripts/cargo.sh test --locked --quiet --package failover-cli "${programs[@]}" --no-run

# A run in which the test is missing, or left out, counts for nothing.
passes() { # passes LOG PROGRAM TEST
    timeout 300 scripts/cargo.sh test --locked --quiet --package failover-cli --test "$2" -- \
        --exact "$3" --include-ignored --nocapture > "$1" 2>&1 && grep -q '^test result: ok. 1 passed' "$1"
}
why() { # why LOG: what the test said when it failed
    sed -n '/ panicked at /,/^note: /{/ panicked at /d;/^note: /d;p;}' "$1" | head -n 1 | cut -c 1-200
}

table=() reasons=() status=0
for version in "${versions[@]}"; do
    row=("$version")
    if ! FAILOVER_POSTGRES_BIN=$(scripts/postgres.sh "$version" 2> "$logs/$version-package"); then
        row+=('no package')
        reasons+=("$version: $(tail -n 1 "$logs/$version-package")")
        status=1
        table+=("$(IFS='|' && echo "${row[*]}")")
        continue
    fi
    export FAILOVER_POSTGRES_BIN
    for column in "${columns[@]}"; do
        # A version is either supported, or refused by name.
        if { [ "$version" = 12 ] && [[ $column =~ ^(kill|hang|restart|salvage|second)$ ]]; } || { [ "$version" != 12 ] && [ "$column" = refused ]; }; then
            row+=('-')
            continue
        fi
        # Without it nobody tells where a log ends.
        if [ "$column" = salvage ] && [ ! -e "$FAILOVER_POSTGRES_BIN/pg_waldump" ]; then
            row+=('-')
            reasons+=("$version, salvage: the package has no pg_waldump")
            continue
        fi
        log=$logs/$version-$column
        read -r program test <<< "${tests[$column]}"
        echo "versions: PostgreSQL $version: $column"
        if passes "$log" "$program" "$test"; then
            row+=(pass)
            [ "$column" != start ] || row[0]=$(sed -n 's/^version: \([0-9.]*\).*/\1/p' "$log")
        else
            row+=(FAIL)
            said=$(why "$log")
            reasons+=("$version, $column: ${said:-see the log} ($log)")
            status=1
        fi
    done
    table+=("$(IFS='|' && echo "${row[*]}")")
done

echo
for line in "PostgreSQL|$(IFS='|' && echo "${columns[*]}")" "${table[@]}"; do
    IFS='|' read -ra cells <<< "$line"
    printf -v shown '%-12s' "${cells[@]}"
    echo "${shown%"${shown##*[! ]}"}"
done
if [ ${#reasons[@]} != 0 ]; then
    echo
    printf '%s\n' "${reasons[@]}"
fi
exit "$status"
