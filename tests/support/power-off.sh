#!/bin/sh
# The switch of a host's power, as fence.command of the demo and the tests: everything that works in the data directory of
# FAILOVER_SERVER ends at once. Exit code 0: nothing of it is left.
PATH=/usr/bin:/bin
data=@LAB@/${FAILOVER_SERVER:?}
round=0
while [ $round -lt 100 ]; do
  left=''
  for proc in /proc/[0-9]*; do
    case $(readlink "$proc/cwd" 2>/dev/null) in "$data" | "$data"/*)
      IFS= read -r stat 2>/dev/null <"$proc/stat" || continue
      case ${stat##*) } in Z*) continue ;; esac
      left="$left ${proc#/proc/}" ;;
    esac
  done
  [ -z "$left" ] && exit 0
  for pid in $left; do kill -KILL "$pid"; done 2>/dev/null
  round=$((round + 1))
done
exit 1
