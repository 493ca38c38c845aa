# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_failover_global_optspecs
    string join \n json color= h/help V/version
end

function __fish_failover_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_failover_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_failover_using_subcommand
    set -l cmd (__fish_failover_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c failover -n "__fish_failover_needs_command" -l color -d 'Colours and tables; `auto`: on a terminal, unless `NO_COLOR` is set or `TERM` is `dumb`' -r -f -a "auto\t''
always\t''
never\t''"
complete -c failover -n "__fish_failover_needs_command" -l json -d 'Write JSON for programs instead of text for people'
complete -c failover -n "__fish_failover_needs_command" -s h -l help -d 'Print help'
complete -c failover -n "__fish_failover_needs_command" -s V -l version -d 'Print version'
complete -c failover -n "__fish_failover_needs_command" -f -a "run" -d 'Run the engine in the foreground until SIGINT or SIGTERM'
complete -c failover -n "__fish_failover_needs_command" -f -a "check" -d 'Run every check once, and say whether a failover would go through'
complete -c failover -n "__fish_failover_needs_command" -f -a "doctor" -d 'Say what would hurt a failover of one service, why, and what mends it'
complete -c failover -n "__fish_failover_needs_command" -f -a "validate" -d 'Say everything that is wrong with a configuration'
complete -c failover -n "__fish_failover_needs_command" -f -a "status" -d 'Ask a running daemon how its services are, and what would happen if a primary died now'
complete -c failover -n "__fish_failover_needs_command" -f -a "metrics" -d 'Ask a running daemon for its numbers, as Prometheus reads them'
complete -c failover -n "__fish_failover_needs_command" -f -a "events" -d 'Show what happened in a running daemon'
complete -c failover -n "__fish_failover_needs_command" -f -a "confirm" -d 'Say yes to a failover that waits for it'
complete -c failover -n "__fish_failover_needs_command" -f -a "pause" -d 'Go on watching, decide nothing'
complete -c failover -n "__fish_failover_needs_command" -f -a "resume" -d 'End a pause'
complete -c failover -n "__fish_failover_needs_command" -f -a "reset" -d 'Leave `manual_intervention` or `failed_over`: failovers are automatic again, once nothing else blocks them'
complete -c failover -n "__fish_failover_needs_command" -f -a "adopt" -d 'Say that a server which takes writes is the primary from here on'
complete -c failover -n "__fish_failover_needs_command" -f -a "cordon" -d 'Say that a server is not to be promoted, by whatever'
complete -c failover -n "__fish_failover_needs_command" -f -a "uncordon" -d 'Say that a cordoned server may be promoted again'
complete -c failover -n "__fish_failover_needs_command" -f -a "switchover" -d 'Let a healthy primary hand over to a standby, without losing a row'
complete -c failover -n "__fish_failover_needs_command" -f -a "force" -d 'Fail over now, whatever the checks say'
complete -c failover -n "__fish_failover_needs_command" -f -a "rejoin" -d 'Bring an old primary that is stopped back as a standby'
complete -c failover -n "__fish_failover_needs_command" -f -a "clone" -d 'Make a standby where nothing is, by a first copy of the primary\'s data'
complete -c failover -n "__fish_failover_needs_command" -f -a "notify" -d 'Look after the receivers of notifications'
complete -c failover -n "__fish_failover_needs_command" -f -a "survived" -d 'Did a commit whose answer nobody received survive the last failovers?'
complete -c failover -n "__fish_failover_needs_command" -f -a "hold-gate" -d 'Hold the deadline of a closed gate: for the engine\'s own use'
complete -c failover -n "__fish_failover_needs_command" -f -a "replay" -d 'Go through a recorded decision again, and compare'
complete -c failover -n "__fish_failover_needs_command" -f -a "completions" -d 'Print the completion script of a shell'
complete -c failover -n "__fish_failover_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c failover -n "__fish_failover_using_subcommand run" -l color -d 'Colours and tables; `auto`: on a terminal, unless `NO_COLOR` is set or `TERM` is `dumb`' -r -f -a "auto\t''
always\t''
never\t''"
complete -c failover -n "__fish_failover_using_subcommand run" -s v -l verbose -d 'Show single observations too'
complete -c failover -n "__fish_failover_using_subcommand run" -l json -d 'Write JSON for programs instead of text for people'
complete -c failover -n "__fish_failover_using_subcommand run" -s h -l help -d 'Print help'
complete -c failover -n "__fish_failover_using_subcommand check" -l color -d 'Colours and tables; `auto`: on a terminal, unless `NO_COLOR` is set or `TERM` is `dumb`' -r -f -a "auto\t''
always\t''
never\t''"
complete -c failover -n "__fish_failover_using_subcommand check" -l json -d 'Write JSON for programs instead of text for people'
complete -c failover -n "__fish_failover_using_subcommand check" -s h -l help -d 'Print help'
complete -c failover -n "__fish_failover_using_subcommand doctor" -l config -d 'The configuration, TOML or JSON' -r -F
complete -c failover -n "__fish_failover_using_subcommand doctor" -l color -d 'Colours and tables; `auto`: on a terminal, unless `NO_COLOR` is set or `TERM` is `dumb`' -r -f -a "auto\t''
always\t''
never\t''"
complete -c failover -n "__fish_failover_using_subcommand doctor" -l json -d 'Write JSON for programs instead of text for people'
complete -c failover -n "__fish_failover_using_subcommand doctor" -s h -l help -d 'Print help'
complete -c failover -n "__fish_failover_using_subcommand validate" -l color -d 'Colours and tables; `auto`: on a terminal, unless `NO_COLOR` is set or `TERM` is `dumb`' -r -f -a "auto\t''
always\t''
never\t''"
complete -c failover -n "__fish_failover_using_subcommand validate" -l print-effective -d 'Print the configuration with every default in force, secrets masked'
complete -c failover -n "__fish_failover_using_subcommand validate" -l schema -d 'Print the JSON Schema of the configuration'
complete -c failover -n "__fish_failover_using_subcommand validate" -l json -d 'Write JSON for programs instead of text for people'
complete -c failover -n "__fish_failover_using_subcommand validate" -s h -l help -d 'Print help'
complete -c failover -n "__fish_failover_using_subcommand status" -l socket -d 'The daemon\'s control socket [env: FAILOVER_SOCKET, or that of FAILOVER_CONFIG] [default: /run/failover/control.sock, or else /var/lib/failover/control.sock]' -r -F
complete -c failover -n "__fish_failover_using_subcommand status" -l config -d 'Find the control socket in this configuration of the daemon [default: none is read, --socket\'s default holds]' -r -F
complete -c failover -n "__fish_failover_using_subcommand status" -l color -d 'Colours and tables; `auto`: on a terminal, unless `NO_COLOR` is set or `TERM` is `dumb`' -r -f -a "auto\t''
always\t''
never\t''"
complete -c failover -n "__fish_failover_using_subcommand status" -l evidence -d 'The evidence behind the last failover too'
complete -c failover -n "__fish_failover_using_subcommand status" -l json -d 'Write JSON for programs instead of text for people'
complete -c failover -n "__fish_failover_using_subcommand status" -s h -l help -d 'Print help'
complete -c failover -n "__fish_failover_using_subcommand metrics" -l socket -d 'The daemon\'s control socket [env: FAILOVER_SOCKET, or that of FAILOVER_CONFIG] [default: /run/failover/control.sock, or else /var/lib/failover/control.sock]' -r -F
complete -c failover -n "__fish_failover_using_subcommand metrics" -l config -d 'Find the control socket in this configuration of the daemon [default: none is read, --socket\'s default holds]' -r -F
complete -c failover -n "__fish_failover_using_subcommand metrics" -l color -d 'Colours and tables; `auto`: on a terminal, unless `NO_COLOR` is set or `TERM` is `dumb`' -r -f -a "auto\t''
always\t''
never\t''"
complete -c failover -n "__fish_failover_using_subcommand metrics" -l details -d 'Each server, check and circuit breaker too; --json always has them'
complete -c failover -n "__fish_failover_using_subcommand metrics" -l json -d 'Write JSON for programs instead of text for people'
complete -c failover -n "__fish_failover_using_subcommand metrics" -s h -l help -d 'Print help'
complete -c failover -n "__fish_failover_using_subcommand events" -l since -d 'Only events after this sequence number' -r
complete -c failover -n "__fish_failover_using_subcommand events" -l service -d 'Only events of this service, and of the engine itself' -r
complete -c failover -n "__fish_failover_using_subcommand events" -l socket -d 'The daemon\'s control socket [env: FAILOVER_SOCKET, or that of FAILOVER_CONFIG] [default: /run/failover/control.sock, or else /var/lib/failover/control.sock]' -r -F
complete -c failover -n "__fish_failover_using_subcommand events" -l config -d 'Find the control socket in this configuration of the daemon [default: none is read, --socket\'s default holds]' -r -F
complete -c failover -n "__fish_failover_using_subcommand events" -l color -d 'Colours and tables; `auto`: on a terminal, unless `NO_COLOR` is set or `TERM` is `dumb`' -r -f -a "auto\t''
always\t''
never\t''"
complete -c failover -n "__fish_failover_using_subcommand events" -s f -l follow -d 'Go on with what happens from now on'
complete -c failover -n "__fish_failover_using_subcommand events" -s a -s v -l all -l verbose -d 'Show everything, single observations too'
complete -c failover -n "__fish_failover_using_subcommand events" -l json -d 'Write JSON for programs instead of text for people'
complete -c failover -n "__fish_failover_using_subcommand events" -s h -l help -d 'Print help'
complete -c failover -n "__fish_failover_using_subcommand confirm" -l socket -d 'The daemon\'s control socket [env: FAILOVER_SOCKET, or that of FAILOVER_CONFIG] [default: /run/failover/control.sock, or else /var/lib/failover/control.sock]' -r -F
complete -c failover -n "__fish_failover_using_subcommand confirm" -l config -d 'Find the control socket in this configuration of the daemon [default: none is read, --socket\'s default holds]' -r -F
complete -c failover -n "__fish_failover_using_subcommand confirm" -l color -d 'Colours and tables; `auto`: on a terminal, unless `NO_COLOR` is set or `TERM` is `dumb`' -r -f -a "auto\t''
always\t''
never\t''"
complete -c failover -n "__fish_failover_using_subcommand confirm" -l all -d 'Every failover that waits'
complete -c failover -n "__fish_failover_using_subcommand confirm" -l json -d 'Write JSON for programs instead of text for people'
complete -c failover -n "__fish_failover_using_subcommand confirm" -s h -l help -d 'Print help'
complete -c failover -n "__fish_failover_using_subcommand pause" -l reason -d 'Why, for whoever looks later: in status, events and journal' -r
complete -c failover -n "__fish_failover_using_subcommand pause" -l for -d 'After so long it ends by itself, such as 45m or 2h30m; 30 days at most [default: when it is resumed]' -r
complete -c failover -n "__fish_failover_using_subcommand pause" -l socket -d 'The daemon\'s control socket [env: FAILOVER_SOCKET, or that of FAILOVER_CONFIG] [default: /run/failover/control.sock, or else /var/lib/failover/control.sock]' -r -F
complete -c failover -n "__fish_failover_using_subcommand pause" -l config -d 'Find the control socket in this configuration of the daemon [default: none is read, --socket\'s default holds]' -r -F
complete -c failover -n "__fish_failover_using_subcommand pause" -l color -d 'Colours and tables; `auto`: on a terminal, unless `NO_COLOR` is set or `TERM` is `dumb`' -r -f -a "auto\t''
always\t''
never\t''"
complete -c failover -n "__fish_failover_using_subcommand pause" -l json -d 'Write JSON for programs instead of text for people'
complete -c failover -n "__fish_failover_using_subcommand pause" -s h -l help -d 'Print help'
complete -c failover -n "__fish_failover_using_subcommand resume" -l socket -d 'The daemon\'s control socket [env: FAILOVER_SOCKET, or that of FAILOVER_CONFIG] [default: /run/failover/control.sock, or else /var/lib/failover/control.sock]' -r -F
complete -c failover -n "__fish_failover_using_subcommand resume" -l config -d 'Find the control socket in this configuration of the daemon [default: none is read, --socket\'s default holds]' -r -F
complete -c failover -n "__fish_failover_using_subcommand resume" -l color -d 'Colours and tables; `auto`: on a terminal, unless `NO_COLOR` is set or `TERM` is `dumb`' -r -f -a "auto\t''
always\t''
never\t''"
complete -c failover -n "__fish_failover_using_subcommand resume" -l json -d 'Write JSON for programs instead of text for people'
complete -c failover -n "__fish_failover_using_subcommand resume" -s h -l help -d 'Print help'
complete -c failover -n "__fish_failover_using_subcommand reset" -l socket -d 'The daemon\'s control socket [env: FAILOVER_SOCKET, or that of FAILOVER_CONFIG] [default: /run/failover/control.sock, or else /var/lib/failover/control.sock]' -r -F
complete -c failover -n "__fish_failover_using_subcommand reset" -l config -d 'Find the control socket in this configuration of the daemon [default: none is read, --socket\'s default holds]' -r -F
complete -c failover -n "__fish_failover_using_subcommand reset" -l color -d 'Colours and tables; `auto`: on a terminal, unless `NO_COLOR` is set or `TERM` is `dumb`' -r -f -a "auto\t''
always\t''
never\t''"
complete -c failover -n "__fish_failover_using_subcommand reset" -l json -d 'Write JSON for programs instead of text for people'
complete -c failover -n "__fish_failover_using_subcommand reset" -s h -l help -d 'Print help'
complete -c failover -n "__fish_failover_using_subcommand adopt" -l socket -d 'The daemon\'s control socket [env: FAILOVER_SOCKET, or that of FAILOVER_CONFIG] [default: /run/failover/control.sock, or else /var/lib/failover/control.sock]' -r -F
complete -c failover -n "__fish_failover_using_subcommand adopt" -l config -d 'Find the control socket in this configuration of the daemon [default: none is read, --socket\'s default holds]' -r -F
complete -c failover -n "__fish_failover_using_subcommand adopt" -l color -d 'Colours and tables; `auto`: on a terminal, unless `NO_COLOR` is set or `TERM` is `dumb`' -r -f -a "auto\t''
always\t''
never\t''"
complete -c failover -n "__fish_failover_using_subcommand adopt" -l json -d 'Write JSON for programs instead of text for people'
complete -c failover -n "__fish_failover_using_subcommand adopt" -s h -l help -d 'Print help'
complete -c failover -n "__fish_failover_using_subcommand cordon" -l socket -d 'The daemon\'s control socket [env: FAILOVER_SOCKET, or that of FAILOVER_CONFIG] [default: /run/failover/control.sock, or else /var/lib/failover/control.sock]' -r -F
complete -c failover -n "__fish_failover_using_subcommand cordon" -l config -d 'Find the control socket in this configuration of the daemon [default: none is read, --socket\'s default holds]' -r -F
complete -c failover -n "__fish_failover_using_subcommand cordon" -l color -d 'Colours and tables; `auto`: on a terminal, unless `NO_COLOR` is set or `TERM` is `dumb`' -r -f -a "auto\t''
always\t''
never\t''"
complete -c failover -n "__fish_failover_using_subcommand cordon" -l json -d 'Write JSON for programs instead of text for people'
complete -c failover -n "__fish_failover_using_subcommand cordon" -s h -l help -d 'Print help'
complete -c failover -n "__fish_failover_using_subcommand uncordon" -l socket -d 'The daemon\'s control socket [env: FAILOVER_SOCKET, or that of FAILOVER_CONFIG] [default: /run/failover/control.sock, or else /var/lib/failover/control.sock]' -r -F
complete -c failover -n "__fish_failover_using_subcommand uncordon" -l config -d 'Find the control socket in this configuration of the daemon [default: none is read, --socket\'s default holds]' -r -F
complete -c failover -n "__fish_failover_using_subcommand uncordon" -l color -d 'Colours and tables; `auto`: on a terminal, unless `NO_COLOR` is set or `TERM` is `dumb`' -r -f -a "auto\t''
always\t''
never\t''"
complete -c failover -n "__fish_failover_using_subcommand uncordon" -l json -d 'Write JSON for programs instead of text for people'
complete -c failover -n "__fish_failover_using_subcommand uncordon" -s h -l help -d 'Print help'
complete -c failover -n "__fish_failover_using_subcommand switchover" -l to -d 'Promote this standby [default: the best one]' -r
complete -c failover -n "__fish_failover_using_subcommand switchover" -l at -d 'Begin at this moment: HH:MM of this machine\'s clock, or RFC 3339' -r
complete -c failover -n "__fish_failover_using_subcommand switchover" -l socket -d 'The daemon\'s control socket [env: FAILOVER_SOCKET, or that of FAILOVER_CONFIG] [default: /run/failover/control.sock, or else /var/lib/failover/control.sock]' -r -F
complete -c failover -n "__fish_failover_using_subcommand switchover" -l config -d 'Find the control socket in this configuration of the daemon [default: none is read, --socket\'s default holds]' -r -F
complete -c failover -n "__fish_failover_using_subcommand switchover" -l color -d 'Colours and tables; `auto`: on a terminal, unless `NO_COLOR` is set or `TERM` is `dumb`' -r -f -a "auto\t''
always\t''
never\t''"
complete -c failover -n "__fish_failover_using_subcommand switchover" -l dry-run -d 'Only look: say line by line what was seen, and what mends it'
complete -c failover -n "__fish_failover_using_subcommand switchover" -l cancel -d 'Take the planned switchover back'
complete -c failover -n "__fish_failover_using_subcommand switchover" -s w -l wait -d 'Wait for the end, show the steps, and end with the outcome'
complete -c failover -n "__fish_failover_using_subcommand switchover" -l json -d 'Write JSON for programs instead of text for people'
complete -c failover -n "__fish_failover_using_subcommand switchover" -s h -l help -d 'Print help'
complete -c failover -n "__fish_failover_using_subcommand force" -l to -d 'Promote this standby [default: the best one]' -r
complete -c failover -n "__fish_failover_using_subcommand force" -l accept-loss -d 'Accept the loss of this much: a number of bytes, a size such as 16MiB, or any, also where it is not known [default: nothing of a primary that lives, else `data.max_lag_bytes`]' -r
complete -c failover -n "__fish_failover_using_subcommand force" -l socket -d 'The daemon\'s control socket [env: FAILOVER_SOCKET, or that of FAILOVER_CONFIG] [default: /run/failover/control.sock, or else /var/lib/failover/control.sock]' -r -F
complete -c failover -n "__fish_failover_using_subcommand force" -l config -d 'Find the control socket in this configuration of the daemon [default: none is read, --socket\'s default holds]' -r -F
complete -c failover -n "__fish_failover_using_subcommand force" -l color -d 'Colours and tables; `auto`: on a terminal, unless `NO_COLOR` is set or `TERM` is `dumb`' -r -f -a "auto\t''
always\t''
never\t''"
complete -c failover -n "__fish_failover_using_subcommand force" -s y -l yes -d 'Do not ask'
complete -c failover -n "__fish_failover_using_subcommand force" -s w -l wait -d 'Wait for the end, show the steps, and end with the outcome'
complete -c failover -n "__fish_failover_using_subcommand force" -l json -d 'Write JSON for programs instead of text for people'
complete -c failover -n "__fish_failover_using_subcommand force" -s h -l help -d 'Print help'
complete -c failover -n "__fish_failover_using_subcommand rejoin" -l socket -d 'The daemon\'s control socket [env: FAILOVER_SOCKET, or that of FAILOVER_CONFIG] [default: /run/failover/control.sock, or else /var/lib/failover/control.sock]' -r -F
complete -c failover -n "__fish_failover_using_subcommand rejoin" -l config -d 'Find the control socket in this configuration of the daemon [default: none is read, --socket\'s default holds]' -r -F
complete -c failover -n "__fish_failover_using_subcommand rejoin" -l color -d 'Colours and tables; `auto`: on a terminal, unless `NO_COLOR` is set or `TERM` is `dumb`' -r -f -a "auto\t''
always\t''
never\t''"
complete -c failover -n "__fish_failover_using_subcommand rejoin" -l rebuild -d 'By a new copy of the primary\'s data; the old data directory is kept'
complete -c failover -n "__fish_failover_using_subcommand rejoin" -s n -l dry-run -d 'Only say what would be done and what stands in the way'
complete -c failover -n "__fish_failover_using_subcommand rejoin" -s w -l wait -d 'Wait for the end, show the steps, and end with the outcome'
complete -c failover -n "__fish_failover_using_subcommand rejoin" -l json -d 'Write JSON for programs instead of text for people'
complete -c failover -n "__fish_failover_using_subcommand rejoin" -s h -l help -d 'Print help'
complete -c failover -n "__fish_failover_using_subcommand clone" -l socket -d 'The daemon\'s control socket [env: FAILOVER_SOCKET, or that of FAILOVER_CONFIG] [default: /run/failover/control.sock, or else /var/lib/failover/control.sock]' -r -F
complete -c failover -n "__fish_failover_using_subcommand clone" -l config -d 'Find the control socket in this configuration of the daemon [default: none is read, --socket\'s default holds]' -r -F
complete -c failover -n "__fish_failover_using_subcommand clone" -l color -d 'Colours and tables; `auto`: on a terminal, unless `NO_COLOR` is set or `TERM` is `dumb`' -r -f -a "auto\t''
always\t''
never\t''"
complete -c failover -n "__fish_failover_using_subcommand clone" -s n -l dry-run -d 'Only say what would be done and what stands in the way'
complete -c failover -n "__fish_failover_using_subcommand clone" -s w -l wait -d 'Wait for the end, show the steps, and end with the outcome'
complete -c failover -n "__fish_failover_using_subcommand clone" -l json -d 'Write JSON for programs instead of text for people'
complete -c failover -n "__fish_failover_using_subcommand clone" -s h -l help -d 'Print help'
complete -c failover -n "__fish_failover_using_subcommand notify; and not __fish_seen_subcommand_from test help" -l color -d 'Colours and tables; `auto`: on a terminal, unless `NO_COLOR` is set or `TERM` is `dumb`' -r -f -a "auto\t''
always\t''
never\t''"
complete -c failover -n "__fish_failover_using_subcommand notify; and not __fish_seen_subcommand_from test help" -l json -d 'Write JSON for programs instead of text for people'
complete -c failover -n "__fish_failover_using_subcommand notify; and not __fish_seen_subcommand_from test help" -s h -l help -d 'Print help'
complete -c failover -n "__fish_failover_using_subcommand notify; and not __fish_seen_subcommand_from test help" -f -a "test" -d 'Send a test message now, and say what the receiver answers'
complete -c failover -n "__fish_failover_using_subcommand notify; and not __fish_seen_subcommand_from test help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c failover -n "__fish_failover_using_subcommand notify; and __fish_seen_subcommand_from test" -l socket -d 'The daemon\'s control socket [env: FAILOVER_SOCKET, or that of FAILOVER_CONFIG] [default: /run/failover/control.sock, or else /var/lib/failover/control.sock]' -r -F
complete -c failover -n "__fish_failover_using_subcommand notify; and __fish_seen_subcommand_from test" -l config -d 'Find the control socket in this configuration of the daemon [default: none is read, --socket\'s default holds]' -r -F
complete -c failover -n "__fish_failover_using_subcommand notify; and __fish_seen_subcommand_from test" -l color -d 'Colours and tables; `auto`: on a terminal, unless `NO_COLOR` is set or `TERM` is `dumb`' -r -f -a "auto\t''
always\t''
never\t''"
complete -c failover -n "__fish_failover_using_subcommand notify; and __fish_seen_subcommand_from test" -l json -d 'Write JSON for programs instead of text for people'
complete -c failover -n "__fish_failover_using_subcommand notify; and __fish_seen_subcommand_from test" -s h -l help -d 'Print help'
complete -c failover -n "__fish_failover_using_subcommand notify; and __fish_seen_subcommand_from help" -f -a "test" -d 'Send a test message now, and say what the receiver answers'
complete -c failover -n "__fish_failover_using_subcommand notify; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c failover -n "__fish_failover_using_subcommand survived" -l xid -d 'The transaction: what pg_current_xact_id() said inside it' -r
complete -c failover -n "__fish_failover_using_subcommand survived" -l lsn -d 'A position of the log, such as 0/3000148: whether everything before it survived' -r
complete -c failover -n "__fish_failover_using_subcommand survived" -l timeline -d 'The timeline of the transaction, or of the position' -r
complete -c failover -n "__fish_failover_using_subcommand survived" -l socket -d 'The daemon\'s control socket [env: FAILOVER_SOCKET, or that of FAILOVER_CONFIG] [default: /run/failover/control.sock, or else /var/lib/failover/control.sock]' -r -F
complete -c failover -n "__fish_failover_using_subcommand survived" -l config -d 'Find the control socket in this configuration of the daemon [default: none is read, --socket\'s default holds]' -r -F
complete -c failover -n "__fish_failover_using_subcommand survived" -l color -d 'Colours and tables; `auto`: on a terminal, unless `NO_COLOR` is set or `TERM` is `dumb`' -r -f -a "auto\t''
always\t''
never\t''"
complete -c failover -n "__fish_failover_using_subcommand survived" -l json -d 'Write JSON for programs instead of text for people'
complete -c failover -n "__fish_failover_using_subcommand survived" -s h -l help -d 'Print help'
complete -c failover -n "__fish_failover_using_subcommand hold-gate" -l color -d 'Colours and tables; `auto`: on a terminal, unless `NO_COLOR` is set or `TERM` is `dumb`' -r -f -a "auto\t''
always\t''
never\t''"
complete -c failover -n "__fish_failover_using_subcommand hold-gate" -l json -d 'Write JSON for programs instead of text for people'
complete -c failover -n "__fish_failover_using_subcommand hold-gate" -s h -l help -d 'Print help'
complete -c failover -n "__fish_failover_using_subcommand replay" -l color -d 'Colours and tables; `auto`: on a terminal, unless `NO_COLOR` is set or `TERM` is `dumb`' -r -f -a "auto\t''
always\t''
never\t''"
complete -c failover -n "__fish_failover_using_subcommand replay" -l json -d 'Write JSON for programs instead of text for people'
complete -c failover -n "__fish_failover_using_subcommand replay" -s h -l help -d 'Print help'
complete -c failover -n "__fish_failover_using_subcommand completions" -l color -d 'Colours and tables; `auto`: on a terminal, unless `NO_COLOR` is set or `TERM` is `dumb`' -r -f -a "auto\t''
always\t''
never\t''"
complete -c failover -n "__fish_failover_using_subcommand completions" -l json -d 'Write JSON for programs instead of text for people'
complete -c failover -n "__fish_failover_using_subcommand completions" -s h -l help -d 'Print help'
complete -c failover -n "__fish_failover_using_subcommand help; and not __fish_seen_subcommand_from run check doctor validate status metrics events confirm pause resume reset adopt cordon uncordon switchover force rejoin clone notify survived hold-gate replay completions help" -f -a "run" -d 'Run the engine in the foreground until SIGINT or SIGTERM'
complete -c failover -n "__fish_failover_using_subcommand help; and not __fish_seen_subcommand_from run check doctor validate status metrics events confirm pause resume reset adopt cordon uncordon switchover force rejoin clone notify survived hold-gate replay completions help" -f -a "check" -d 'Run every check once, and say whether a failover would go through'
complete -c failover -n "__fish_failover_using_subcommand help; and not __fish_seen_subcommand_from run check doctor validate status metrics events confirm pause resume reset adopt cordon uncordon switchover force rejoin clone notify survived hold-gate replay completions help" -f -a "doctor" -d 'Say what would hurt a failover of one service, why, and what mends it'
complete -c failover -n "__fish_failover_using_subcommand help; and not __fish_seen_subcommand_from run check doctor validate status metrics events confirm pause resume reset adopt cordon uncordon switchover force rejoin clone notify survived hold-gate replay completions help" -f -a "validate" -d 'Say everything that is wrong with a configuration'
complete -c failover -n "__fish_failover_using_subcommand help; and not __fish_seen_subcommand_from run check doctor validate status metrics events confirm pause resume reset adopt cordon uncordon switchover force rejoin clone notify survived hold-gate replay completions help" -f -a "status" -d 'Ask a running daemon how its services are, and what would happen if a primary died now'
complete -c failover -n "__fish_failover_using_subcommand help; and not __fish_seen_subcommand_from run check doctor validate status metrics events confirm pause resume reset adopt cordon uncordon switchover force rejoin clone notify survived hold-gate replay completions help" -f -a "metrics" -d 'Ask a running daemon for its numbers, as Prometheus reads them'
complete -c failover -n "__fish_failover_using_subcommand help; and not __fish_seen_subcommand_from run check doctor validate status metrics events confirm pause resume reset adopt cordon uncordon switchover force rejoin clone notify survived hold-gate replay completions help" -f -a "events" -d 'Show what happened in a running daemon'
complete -c failover -n "__fish_failover_using_subcommand help; and not __fish_seen_subcommand_from run check doctor validate status metrics events confirm pause resume reset adopt cordon uncordon switchover force rejoin clone notify survived hold-gate replay completions help" -f -a "confirm" -d 'Say yes to a failover that waits for it'
complete -c failover -n "__fish_failover_using_subcommand help; and not __fish_seen_subcommand_from run check doctor validate status metrics events confirm pause resume reset adopt cordon uncordon switchover force rejoin clone notify survived hold-gate replay completions help" -f -a "pause" -d 'Go on watching, decide nothing'
complete -c failover -n "__fish_failover_using_subcommand help; and not __fish_seen_subcommand_from run check doctor validate status metrics events confirm pause resume reset adopt cordon uncordon switchover force rejoin clone notify survived hold-gate replay completions help" -f -a "resume" -d 'End a pause'
complete -c failover -n "__fish_failover_using_subcommand help; and not __fish_seen_subcommand_from run check doctor validate status metrics events confirm pause resume reset adopt cordon uncordon switchover force rejoin clone notify survived hold-gate replay completions help" -f -a "reset" -d 'Leave `manual_intervention` or `failed_over`: failovers are automatic again, once nothing else blocks them'
complete -c failover -n "__fish_failover_using_subcommand help; and not __fish_seen_subcommand_from run check doctor validate status metrics events confirm pause resume reset adopt cordon uncordon switchover force rejoin clone notify survived hold-gate replay completions help" -f -a "adopt" -d 'Say that a server which takes writes is the primary from here on'
complete -c failover -n "__fish_failover_using_subcommand help; and not __fish_seen_subcommand_from run check doctor validate status metrics events confirm pause resume reset adopt cordon uncordon switchover force rejoin clone notify survived hold-gate replay completions help" -f -a "cordon" -d 'Say that a server is not to be promoted, by whatever'
complete -c failover -n "__fish_failover_using_subcommand help; and not __fish_seen_subcommand_from run check doctor validate status metrics events confirm pause resume reset adopt cordon uncordon switchover force rejoin clone notify survived hold-gate replay completions help" -f -a "uncordon" -d 'Say that a cordoned server may be promoted again'
complete -c failover -n "__fish_failover_using_subcommand help; and not __fish_seen_subcommand_from run check doctor validate status metrics events confirm pause resume reset adopt cordon uncordon switchover force rejoin clone notify survived hold-gate replay completions help" -f -a "switchover" -d 'Let a healthy primary hand over to a standby, without losing a row'
complete -c failover -n "__fish_failover_using_subcommand help; and not __fish_seen_subcommand_from run check doctor validate status metrics events confirm pause resume reset adopt cordon uncordon switchover force rejoin clone notify survived hold-gate replay completions help" -f -a "force" -d 'Fail over now, whatever the checks say'
complete -c failover -n "__fish_failover_using_subcommand help; and not __fish_seen_subcommand_from run check doctor validate status metrics events confirm pause resume reset adopt cordon uncordon switchover force rejoin clone notify survived hold-gate replay completions help" -f -a "rejoin" -d 'Bring an old primary that is stopped back as a standby'
complete -c failover -n "__fish_failover_using_subcommand help; and not __fish_seen_subcommand_from run check doctor validate status metrics events confirm pause resume reset adopt cordon uncordon switchover force rejoin clone notify survived hold-gate replay completions help" -f -a "clone" -d 'Make a standby where nothing is, by a first copy of the primary\'s data'
complete -c failover -n "__fish_failover_using_subcommand help; and not __fish_seen_subcommand_from run check doctor validate status metrics events confirm pause resume reset adopt cordon uncordon switchover force rejoin clone notify survived hold-gate replay completions help" -f -a "notify" -d 'Look after the receivers of notifications'
complete -c failover -n "__fish_failover_using_subcommand help; and not __fish_seen_subcommand_from run check doctor validate status metrics events confirm pause resume reset adopt cordon uncordon switchover force rejoin clone notify survived hold-gate replay completions help" -f -a "survived" -d 'Did a commit whose answer nobody received survive the last failovers?'
complete -c failover -n "__fish_failover_using_subcommand help; and not __fish_seen_subcommand_from run check doctor validate status metrics events confirm pause resume reset adopt cordon uncordon switchover force rejoin clone notify survived hold-gate replay completions help" -f -a "hold-gate" -d 'Hold the deadline of a closed gate: for the engine\'s own use'
complete -c failover -n "__fish_failover_using_subcommand help; and not __fish_seen_subcommand_from run check doctor validate status metrics events confirm pause resume reset adopt cordon uncordon switchover force rejoin clone notify survived hold-gate replay completions help" -f -a "replay" -d 'Go through a recorded decision again, and compare'
complete -c failover -n "__fish_failover_using_subcommand help; and not __fish_seen_subcommand_from run check doctor validate status metrics events confirm pause resume reset adopt cordon uncordon switchover force rejoin clone notify survived hold-gate replay completions help" -f -a "completions" -d 'Print the completion script of a shell'
complete -c failover -n "__fish_failover_using_subcommand help; and not __fish_seen_subcommand_from run check doctor validate status metrics events confirm pause resume reset adopt cordon uncordon switchover force rejoin clone notify survived hold-gate replay completions help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c failover -n "__fish_failover_using_subcommand help; and __fish_seen_subcommand_from notify" -f -a "test" -d 'Send a test message now, and say what the receiver answers'
