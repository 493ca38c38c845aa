#!/bin/sh
# gate.sh FILE COMMAND...: a fence waits while FILE is there, so that a test can act between the intent and the choice. Anything
# else goes through, and nothing waits for ever.
hold=$1
shift
case "${SSH_ORIGINAL_COMMAND:-}" in
*fence*)
	left=400
	while [ -e "$hold" ] && [ "$left" -gt 0 ]; do
		left=$((left - 1))
		sleep 0.02
	done
	;;
esac
exec "$@"
