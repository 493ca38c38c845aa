#!/usr/bin/env bash
# Installs what the build, the demo and the tests need, by apt, and says what and why. Debian 12 and Ubuntu 24.04.
# Silent when everything is there. Without root it prints the exact command and stops.
#
#   scripts/setup.sh build   compiler, OpenSSL headers
#   scripts/setup.sh demo    the same, PostgreSQL, HAProxy, sshd
#   scripts/setup.sh test    the same, linters
#
# Nothing is started, now or at the next boot, and no database cluster is made: what forbids it is put back as it was, also
# after an error.
set -euo pipefail
cd "$(dirname "$0")/.."

what=${1:-test}
case $what in build | demo | demo-app | test) ;; *)
    echo "setup: '$what' is none of build, demo, demo-app, test" >&2
    exit 2
    ;;
esac
minimum_rust=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)

at_least() { [ "$(printf '%s\n%s\n' "$1" "$2" | sort -V | head -n 1)" = "$1" ]; }
have() { command -v "$1" >/dev/null 2>&1 || [ -x "/usr/sbin/$1" ] || [ -x "/sbin/$1" ]; }
have_postgres() {
    local newest
    newest=$(compgen -G '/usr/lib/postgresql/*/bin/postgres' | sort -V | tail -n 1 | cut -d/ -f5 || true)
    [ -n "$newest" ] && [ "$newest" -ge 15 ]
}
have_rust() { scripts/cargo.sh --version >/dev/null 2>&1; }
have_linters() { scripts/cargo.sh clippy --version >/dev/null 2>&1 && scripts/cargo.sh fmt --version >/dev/null 2>&1; }

packages=()
need() { # need PACKAGE REASON
    packages+=("$1")
    printf 'setup: %-18s %s\n' "$1" "$2"
}

# The packages of a Rust that is new enough. Debian 12 keeps one for its browsers; Ubuntu names its own by version.
rust_packages() {
    local version
    version=$(apt-cache policy rustc-web 2>/dev/null | sed -n 's/^ *Candidate: *\([0-9.]*\).*/\1/p')
    if [ -n "$version" ] && at_least "$minimum_rust" "$version"; then
        echo 'rustc-web cargo-web rustfmt-web rust-web-clippy'
        return
    fi
    version=$(apt-cache pkgnames rustc-1. 2>/dev/null | sed -n 's/^rustc-\(1\.[0-9]*\)$/\1/p' | sort -V | tail -n 1)
    if [ -n "$version" ] && at_least "$minimum_rust" "$version"; then
        echo "rustc-$version cargo-$version rustfmt-$version rust-$version-clippy"
        return
    fi
    version=$(apt-cache policy rustc 2>/dev/null | sed -n 's/^ *Candidate: *\([0-9.]*\).*/\1/p')
    if [ -n "$version" ] && at_least "$minimum_rust" "$version"; then
        echo 'rustc cargo rustfmt rust-clippy'
    fi
}

look() {
    packages=()
    if ! have cc || ! have make; then need build-essential 'C compiler and make, for the SSH library'; fi
    have pkg-config || need pkg-config 'finds OpenSSL'
    [ -e /usr/include/openssl/ssl.h ] || need libssl-dev 'TLS, and the cryptography under SSH'
    [ -e /etc/ssl/certs/ca-certificates.crt ] || need ca-certificates 'the authorities that TLS trusts'
    if [ "$what" != build ]; then
        have_postgres || need postgresql 'the database servers, each in a temporary folder of its own'
        have haproxy || need haproxy 'the load balancer in front of them'
        have sshd || need openssh-server 'an unprivileged sshd, for the fence'
        have ssh-keygen || need openssh-client 'keys for that sshd'
        [ "$(id -u)" != 0 ] || have ip || need iproute2 'hosts with a network of their own, for the faults that cut one'
        have setpriv || need util-linux 'runs the servers as an unprivileged user'
    fi
    if [ "$what" = test ] || [ "$what" = demo-app ]; then
        have named || need bind9 'a name server, for records that are changed by signed updates'
        have python3 || need python3 'the application servers of the tests and the demo'
    fi
    if [ "$what" = test ]; then
        have pgbouncer || need pgbouncer 'a connection pooler in front of the databases'
        have shellcheck || need shellcheck 'checks the shell scripts'
        /usr/bin/python3 -c 'import aiosmtpd' 2>/dev/null || need python3-aiosmtpd 'a mail server, for notifications'
        have openssl || need openssl 'certificates for the TLS tests'
        have c++ || need g++ 'the C header has to be one of C++ too'
        have cmake || need cmake 'a C program that finds the installed library by its package'
        have valgrind || need valgrind 'the C interface is run under it'
        /usr/bin/python3 -c 'import prometheus_client' 2>/dev/null || need python3-prometheus-client 'reads the metrics as Prometheus does'
        [ -e /usr/share/gocode/src/github.com/lib/pq/go.mod ] || need golang-github-lib-pq-dev 'the driver of an example in Go'
        if ! have python3 || ! python3 -c 'import ensurepip' 2>/dev/null; then need python3-venv 'the Python binding, and the tools that check it'; fi
    fi
    if ! have_rust || { [ "$what" = test ] && ! have_linters; }; then
        local rust package
        rust=$(rust_packages)
        if [ -z "$rust" ]; then
            need "rustc>=$minimum_rust" 'the compiler'
            return
        fi
        for package in $rust; do need "$package" "Rust $minimum_rust or newer"; done
    fi
}

missing=$(look)
[ -n "$missing" ] || exit 0

if ! command -v apt-get >/dev/null; then
    echo "$missing" >&2
    echo 'setup: there is no apt-get here; install what is missing in the way of this system and run this again' >&2
    exit 1
fi

if [ "$(id -u)" != 0 ]; then
    echo "$missing"
    if sudo -n true 2>/dev/null; then
        echo 'setup: going on with sudo'
        exec sudo -n env PATH="$PATH" "$PWD/scripts/setup.sh" "$what"
    fi
    printf '\nsetup: these are missing, and installing them needs root. Run this and try again:\n\n    sudo %s/scripts/setup.sh %s\n\n' \
        "$PWD" "$what" >&2
    look >/dev/null
    case "${packages[*]}" in
        *'>='*) ;;
        *) printf 'or install them yourself:\n\n    sudo apt-get update && sudo apt-get install --no-install-recommends %s\n\n' "${packages[*]}" >&2 ;;
    esac
    exit 1
fi

export DEBIAN_FRONTEND=noninteractive
# Before this the lists of packages may be empty, or too old to name a Rust that is new enough.
echo 'setup: apt-get update'
apt-get update -qq
look
case "${packages[*]}" in
    *'>='*)
        echo "setup: no package of this system has Rust $minimum_rust or newer; install it from https://rustup.rs and run this again" >&2
        exit 1
        ;;
esac

undo=()
restore() {
    local step
    for step in "${undo[@]}"; do eval "$step"; done
}
trap restore EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# The packages of servers start them. A policy forbids it while they are installed.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ] && [ ! -L "$policy" ]; then
    undo+=("rm -f $policy")
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
fi

# The package of PostgreSQL makes a cluster unless this file, which belongs to postgresql-common, says otherwise.
case " ${packages[*]} " in *' postgresql '*)
    conf=/etc/postgresql-common/createcluster.conf
    shipped=/usr/share/postgresql-common/createcluster.conf
    if ! dpkg -s postgresql-common >/dev/null 2>&1; then
        # On its own first, so that its file is there as it wants it.
        apt-get install -y -qq --no-install-recommends postgresql-common >/dev/null
    fi
    if [ -e "$conf" ]; then
        cp -p "$conf" "$conf.failover-setup"
        undo+=("mv -f $conf.failover-setup $conf")
    else
        undo+=("rm -f $conf")
        [ ! -e "$shipped" ] || cp "$shipped" "$conf"
    fi
    # The last word counts where a key is given twice, so an own line is not disturbed.
    printf '\ncreate_main_cluster = false\n' >>"$conf"
    ;;
esac

echo "setup: apt-get install ${packages[*]}"
apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null
# Whoever has these servers already runs them as he likes; those that came just now stay off at the next boot too.
if command -v systemctl >/dev/null; then
    for package in "${packages[@]}"; do
        case $package in
            postgresql) systemctl disable --quiet postgresql.service || true ;;
            haproxy) systemctl disable --quiet haproxy.service || true ;;
            pgbouncer) systemctl disable --quiet pgbouncer.service || true ;;
            bind9) systemctl disable --quiet named.service || true ;;
            openssh-server) systemctl disable --quiet ssh.service ssh.socket 2>/dev/null || systemctl disable --quiet ssh.service || true ;;
        esac
    done 2>/dev/null
fi
missing=$(look)
if [ -n "$missing" ]; then
    printf 'setup: still missing after the installation:\n%s\n' "$missing" >&2
    exit 1
fi
echo 'setup: done; nothing was started or enabled, no database cluster was made'
