#!/usr/bin/env bash
# Runs a command in a chroot of the matrix: enter.sh SUITE COMMAND…
# The checkout stands there where it stands here, and cannot be written. LEND=yes lends this machine's Rust and target
# directory as well, so that no crate is built twice; else the suite's own Rust builds, into a directory of the chroot.
# PG, KEEP, CI and variables that begin with ENVELOPE_ are handed on. All mounts are in a namespace of its own: they end
# with the command, and so do its servers.
source "$(dirname "$0")/env.sh"

as_root_only
suite=$1
shift
export root=$MATRIX/$suite ROOT
[ -d "$root" ] || die "missing: $root (tests/matrix/chroot.sh $suite)"

export TOOLCHAIN='' TARGET
path=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
target=/var/cache/target
if [ "${LEND:-}" = yes ]; then
    TOOLCHAIN=$(cd "$ROOT" && rustc --print sysroot)
    path=/opt/rust/bin:$path
    target=$TARGET
    mkdir -p "$TARGET"
fi
export REGISTRY=${CARGO_HOME:-$HOME/.cargo}/registry
mkdir -p "$REGISTRY"

# The machine's own way to the network: certificates, proxies.
there=(HOME=/root USER=root LANG=C.UTF-8 TERM=dumb "PATH=$path" "CARGO_HOME=${REGISTRY%/*}"
    "CARGO_TARGET_DIR=$target" ENVELOPE_VENV=/var/cache/venv)
bundle=/etc/ssl/certs/ca-certificates.crt
if [ -f "$bundle" ]; then
    for name in SSL_CERT_FILE CARGO_HTTP_CAINFO PIP_CERT; do there+=("$name=/etc/ssl/of-the-host.crt"); done
fi
while IFS= read -r name; do
    there+=("$name=${!name}")
done < <(compgen -e | grep -E '^(PG|KEEP|CI|ENVELOPE_.*|(https?|no|all)_proxy|(HTTPS?|NO|ALL)_PROXY)$')

# The shell stays the first process of the namespace, and reaps what others leave behind.
# shellcheck disable=SC2016 # for the inner shell
exec unshare --mount --pid --ipc --fork --kill-child -- bash -euc '
    lend() { # lend FLAGS FROM TO
        if [ -d "$2" ]; then mkdir -p "$3"; elif [ ! -e "$3" ]; then mkdir -p "${3%/*}" && touch "$3"; fi
        mount --bind "$2" "$3"
        [ "$1" = rw ] || mount -o remount,bind,ro "$3"
    }
    mount -t proc proc "$root/proc"
    mount --rbind /sys "$root/sys"
    mount --rbind /dev "$root/dev"
    mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
    lend ro "$ROOT" "$root$ROOT"
    [ -z "${MANIFEST:-}" ] || for file in Cargo.toml Cargo.lock; do lend ro "$MANIFEST/$file" "$root$ROOT/$file"; done
    lend rw "$REGISTRY" "$root$REGISTRY"
    if [ -n "$TOOLCHAIN" ]; then
        lend ro "$TOOLCHAIN" "$root/opt/rust"
        lend rw "$TARGET" "$root$TARGET"
    fi
    for file in /etc/resolv.conf /etc/hosts; do lend ro "$(realpath "$file")" "$root$file"; done
    [ ! -f '"$bundle"' ] || lend ro "$(realpath '"$bundle"')" "$root/etc/ssl/of-the-host.crt"
    rc=0
    chroot "$root" env -i "$@" || rc=$?
    exit "$rc"
' enter "${there[@]}" bash -c 'cd "$0" && exec "$@"' "$ROOT" "$@"
