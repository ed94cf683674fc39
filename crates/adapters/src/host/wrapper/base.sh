#!/bin/sh
# The part of Serin that lives on a host: it observes it, runs jobs that outlive the connection, and keeps the fence.
#
# `serve` answers requests on stdin until it ends; the other modes are what it starts. It decides nothing: no retries
# but for the locks of apt and dpkg, no policy. docs/wrapper.md says what lies where and how to look at a job by hand.
#
# A request is a line with the operation, a line with the number of arguments, and one line for each. A reply is any
# number of blocks, `data LENGTH` and so many bytes, then one line `end WORD...`. Nothing is ever evaluated. After the
# arguments of `store` come as many bytes as its last one says.
set -u
umask 077
LC_ALL=C
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export LC_ALL PATH

state=/var/lib/serin
archives=/var/cache/apt/archives
# What every program is started with, besides the variables that it is given.
environment="PATH=$PATH HOME=/root LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive NEEDRESTART_MODE=l"
# The last bytes of an output that are ever sent.
tail_bytes=65536

# ── Replies ─────────────────────────────────────────────────────────────────────────────────────────────────────
# fd 3 and 4 are the session; everything that is started must be started without them, or it would keep it open.

block() { printf 'data %s\n%s' "${#1}" "$1" >&4; }

block_of_log() { # FILE: a snapshot first, for the job may still be writing
    if [ ! -s "$1" ]; then block ''; return 0; fi
    tail -c "$tail_bytes" "$1" >"$scratch/tail" 2>/dev/null
    printf 'data %s\n' "$(wc -c <"$scratch/tail")" >&4
    cat "$scratch/tail" >&4
}

end() { printf 'end %s\n' "$*" >&4; }

# ── Durable files, the lock, the fence ──────────────────────────────────────────────────────────────────────────

put() { # FILE TEXT: whole or not at all, and on disk when this returns
    new=${1%/*}/.${1##*/}.new
    printf '%s\n' "$2" >"$new" && sync "$new" && mv "$new" "$1" && sync "${1%/*}"
}

lock() { # under this lock a fence is checked and what it allows is begun
    exec 8>"$state/lock"
    flock -w 30 8 || { end refused "$state/lock is held by another session for more than 30 s"; exec 8>&-; return 1; }
}

unlock() { exec 8>&-; }

stored_fence() {
    fence=0
    [ -e "$state/fence" ] || return 0
    IFS= read -r fence <"$state/fence"
    case $fence in '' | *[!0-9]*) fence=unreadable; return 1 ;; esac
}

pass_fence() { # NUMBER, under the lock: refuses a smaller one, remembers a larger one
    stored_fence || { end refused "$state/fence cannot be read as a number"; return 1; }
    [ "$1" -ge "$fence" ] || { end fenced "$fence"; return 1; }
    [ "$1" -eq "$fence" ] || put "$state/fence" "$1" || { end refused "cannot write $state/fence"; return 1; }
}

op_fence() {
    lock || return 0
    if pass_fence "$1"; then end ok; fi
    unlock
}

