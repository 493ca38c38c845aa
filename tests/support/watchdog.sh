#!/bin/sh
# Ends what a killed test, demo or benchmark left behind. Reads the process groups that run (+N, -N) from its input; at its end
# without "done" it kills them, what works in the lab's folder and what descends from either, and removes the lab's network namespaces, mounts
# and folder.
trap '' INT TERM HUP QUIT
lab=$1
groups=' '
while IFS= read -r line; do
  case $line in
    +*) groups="$groups${line#+} " ;;
    -*) gone=${line#-}
      case $groups in *" $gone "*) groups="${groups%% "$gone" *} ${groups#* "$gone" }" ;; esac ;;
    done) exit 0 ;;
  esac
done
case $lab in */failover-lab-*) ;; *) exit 1 ;; esac
collect() {
  for proc in /proc/[0-9]*; do
    pid=${proc#/proc/}
    [ "$pid" = $$ ] && continue
    case $doomed in *" $pid "*) continue ;; esac
    IFS= read -r stat 2>/dev/null <"$proc/stat" || continue
    # The fields are wanted apart.
    # shellcheck disable=SC2086
    set -- ${stat##*) }
    [ "$1" = Z ] && continue
    case $groups in *" $3 "*) doomed="$doomed$pid "; continue ;; esac
    case $doomed in *" $2 "*) doomed="$doomed$pid "; continue ;; esac
    case $(readlink "$proc/cwd" 2>/dev/null) in "$lab" | "$lab"/* | "$lab "*) doomed="$doomed$pid " ;; esac
  done
}
round=0
while [ $round -lt 100 ]; do
  doomed=' '
  collect
  collect
  [ "$doomed" = ' ' ] && break
  for pid in $doomed; do kill -KILL "$pid"; done 2>/dev/null
  round=$((round + 1))
  sleep 0.1
done
# A killed postmaster leaves its segment of shared memory; the kernel has few of them.
for pidfile in "$lab"/*/postmaster.pid; do
  [ -e "$pidfile" ] || continue
  # shellcheck disable=SC2046
  set -- $(sed -n 7p "$pidfile")
  [ -n "$2" ] && ipcrm -m "$2" 2>/dev/null
done
for namespace in /run/netns/"${lab##*/}"-*; do
  [ -e "$namespace" ] && ip netns del "${namespace##*/}"
done
while read -r _ place _; do
  case $place in "$lab"/*) umount "$place" ;; esac
done </proc/mounts
rm -rf -- "$lab"
