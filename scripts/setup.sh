#!/usr/bin/env bash
# Installs what the build, the tests and the demo need, and says what and why. Debian 12 and Ubuntu 24.04.
# Quiet when everything is there. Without root it prints the exact command and stops.
#
#   scripts/setup.sh build   compiler, OpenSSL headers
#   scripts/setup.sh demo    the above, PostgreSQL, HAProxy, sshd
#   scripts/setup.sh test    the above, shellcheck
set -euo pipefail

what=${1:-test}
minimum_rust=1.88

# The newest PostgreSQL server binaries of this machine, wherever its packages put them.
have_postgres() { compgen -G '/usr/lib/postgresql/*/bin/postgres' >/dev/null || command -v postgres >/dev/null; }
have_rust() {
    command -v cargo >/dev/null || return 1
    command -v rustc >/dev/null || return 1
    local version
    version=$(rustc --version | cut -d' ' -f2)
    [ "$(printf '%s\n%s\n' "$minimum_rust" "$version" | sort -V | head -n 1)" = "$minimum_rust" ]
}

packages=()
need() { # need PACKAGE REASON
    packages+=("$1")
    printf 'setup: %-24s %s\n' "$1" "$2"
}

if ! command -v cc >/dev/null || ! command -v make >/dev/null; then need build-essential 'C compiler and make, for the SSH library'; fi
command -v pkg-config >/dev/null || need pkg-config 'finds OpenSSL'
[ -e /usr/include/openssl/ssl.h ] || need libssl-dev 'TLS, and the cryptography under SSH'
dpkg -s ca-certificates >/dev/null 2>&1 || need ca-certificates 'the roots that TLS trusts'
if ! have_rust; then
    if apt-cache show rustc-web >/dev/null 2>&1; then
        for package in rustc-web cargo-web rustfmt-web rust-web-clippy; do need "$package" "Rust $minimum_rust or newer"; done
    else
        # Ubuntu names its newer toolchains by version: rustc-1.89, cargo-1.89, …
        version=$(apt-cache pkgnames rustc-1. 2>/dev/null | grep -E '^rustc-1\.[0-9]+$' | sort -V | tail -n 1 | cut -d- -f2 || true)
        if [ -n "$version" ] && [ "$(printf '%s\n%s\n' "$minimum_rust" "$version" | sort -V | head -n 1)" = "$minimum_rust" ]; then
            for package in "rustc-$version" "cargo-$version" "rustfmt-$version" "rust-$version-clippy"; do
                if apt-cache show "$package" >/dev/null 2>&1; then need "$package" "Rust $minimum_rust or newer"; fi
            done
        else
            echo "setup: Rust $minimum_rust or newer is needed and apt has none here (try 'apt-get update'); install it from https://rustup.rs and run this again" >&2
            [ "$(id -u)" = 0 ] || exit 1
        fi
    fi
fi
if [ "$what" != build ]; then
    have_postgres || need postgresql 'the database servers of the demo and the tests'
    command -v haproxy >/dev/null || [ -x /usr/sbin/haproxy ] || need haproxy 'the load balancer of the demo and the tests'
    [ -x /usr/sbin/sshd ] || need openssh-server 'an unprivileged sshd for the demo and the tests'
    command -v ssh-keygen >/dev/null || need openssh-client 'keys for that sshd'
    command -v setpriv >/dev/null || need util-linux 'runs the servers as an unprivileged user'
fi
if [ "$what" = test ]; then
    command -v shellcheck >/dev/null || need shellcheck 'checks the shell scripts'
    command -v openssl >/dev/null || need openssl 'certificates for the TLS tests'
fi

[ ${#packages[@]} -gt 0 ] || exit 0

if [ "$(id -u)" != 0 ]; then
    if command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
        echo 'setup: installing them with sudo'
        exec sudo -n --preserve-env=PATH "$0" "$what"
    fi
    printf 'setup: not root; run this and try again:\n\n    sudo apt-get update && sudo apt-get install -y --no-install-recommends %s\n\n' "${packages[*]}" >&2
    exit 1
fi

# The packages of servers start them and create a cluster. Neither is wanted on somebody's machine: a policy file forbids starts,
# and a setting of postgresql-common forbids the cluster; both are put back as they were.
policy=/usr/sbin/policy-rc.d
cluster=/etc/postgresql-common/createcluster.d/no-main-cluster.conf
cleanup=()
restore() { for file in "${cleanup[@]}"; do rm -f "$file"; done; }
trap restore EXIT
if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
    cleanup+=("$policy")
fi
if [ ! -e "$cluster" ]; then
    mkdir -p "$(dirname "$cluster")"
    echo 'create_main_cluster = false' >"$cluster"
    cleanup+=("$cluster")
fi

export DEBIAN_FRONTEND=noninteractive
echo 'setup: apt-get update'
apt-get update -qq
echo "setup: apt-get install ${packages[*]}"
apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null
echo 'setup: done'
if ! have_rust; then
    exec "$0" "$what"
fi
