# ── Short commands ──────────────────────────────────────────────────────────────────────────────────────────────

errors_to=2
bounded() { # SECONDS [NAME=VALUE]... PROGRAM ARGUMENT...: becomes it; what runs out of time is asked, then killed
    exec 3<&- 4>&- 2>&"$errors_to" </dev/null
    seconds=$1
    shift
    # shellcheck disable=SC2086 # Words of our own.
    exec timeout -k 5 "$seconds" env -i --default-signal $environment "$@"
}

op_read() { # SECONDS [NAME=VALUE]... PROGRAM ARGUMENT...
    { (errors_to=1; bounded "$@"); echo $? >"$scratch/status"; } 4>&- | tail -c "$tail_bytes" >"$scratch/output"
    IFS= read -r status <"$scratch/status"
    block_of_log "$scratch/output"
    end exited "$status"
}

op_hello() {
    missing=
    for tool in setsid flock timeout sync env perl dpkg dpkg-query; do
        command -v "$tool" >/dev/null || missing="$missing $tool"
    done
    if [ -n "$missing" ]; then end refused "this host lacks:$missing"; return 0; fi
    written=no probe=$state/.probe.$$
    printf 'can this be written?\n' >"$probe" && sync "$probe" && written=yes
    rm -f "$probe"
    if [ "$written" = no ]; then end refused "cannot write to $state"; return 0; fi
    stored_fence
    boot_identity
    end ok "$fence" "$boot"
}

# ── Observing ───────────────────────────────────────────────────────────────────────────────────────────────────

op_observe() { # words that each begin with what they are about; see `take`
    stored_fence
    boot_identity
    seen="boot $boot
fence $fence
free $(free_bytes)"
    read -r up rest </proc/uptime
    now=$(date +%s%N)
    package=
    while [ $# -gt 0 ]; do
        word=$1
        shift
        case $word in
        package) package=$1; shift; see_package ;;
        require) [ -e "$1" ] || see missing "$1"; shift ;;
        service) service=$1; shift; see_service "$@"; shift "$used" ;;
        config-management) see_config_management "$@"; shift "$used" ;;
        migrations) see_migrations "$@"; shift "$used" ;;
        *) end refused "not understood: $word"; return 0 ;;
        esac
    done
    see_patches
    block "$seen"
    end ok
}

free_bytes() { # the least of where packages are fetched to and where they are unpacked
    least=
    while read -r bytes; do
        case $bytes in '' | *[!0-9]*) continue ;; esac
        [ "${least:-$bytes}" -lt "$bytes" ] || least=$bytes
    done <<END
$(df -B1 --output=avail / "$archives" 2>/dev/null)
END
    echo "${least:-0}"
}

see() { seen="$seen
$*"; }

take() { # COUNT WORD...: runs the first COUNT words, sets out (its first 64 KiB), status, and used
    used=$(($1 + 1)) wanted=$1
    shift
    total=$#
    turned=0
    while [ "$turned" -lt "$wanted" ]; do
        set -- "$@" "$1"
        shift
        turned=$((turned + 1))
    done
    shift "$((total - wanted))"
    out=
    status=0
    [ "$wanted" -eq 0 ] || { out=$(bounded "$limit" "$@" 2>"$scratch/error"); status=$?; }
}

query_package() { # sets found (absent, installed, broken), version, word
    found=absent version='' word=''
    # shellcheck disable=SC2016 # dpkg-query's own variables.
    line=$(dpkg-query -W -f '${Version} ${db:Status-Status} ${db:Status-Eflag}\n' "$package" 2>/dev/null) || return 0
    read -r version word flag <<END
$line
END
    case $word:$flag in
    installed:ok) found=installed ;;
    not-installed:* | config-files:ok) found=absent ;;
    *:ok) found=broken ;;
    *) found=broken word=$word,$flag ;;
    esac
}

see_package() {
    query_package
    list=/var/lib/dpkg/info/$package.list
    [ -e "$list" ] || list=$(ls "/var/lib/dpkg/info/$package":*.list 2>/dev/null)
    laid=$(stat -c %.2Y "$list" 2>/dev/null) || laid=0.00
    case $found in
    absent) see package absent ;;
    installed) see package installed "$version"; see_bytes ;;
    broken) see package broken "$version" "$word" ;;
    esac
}

see_bytes() { # what this version was installed from, if Serin did it and nobody installed another since
    { read -r of digest <"$state/installed/$package"; } 2>/dev/null || return 0
    [ "$of" = "$version" ] || return 0
    case $digest in *[!0-9a-f]*) ;; *) see bytes "$digest" ;; esac
}

see_service() { # PID-COUNT WORD... VERSION-COUNT WORD...: prints name, pid, version, age
    limit=10
    take "$@"
    both=$used pid=$out
    shift "$used"
    case $pid:$status in
    :0 | :1 | 0:0) pid=- ;;
    *[!0-9]*:* | *:[!0]*) pid=unknown ;;
    *) [ -d "/proc/$pid" ] || pid=- ;;
    esac
    older=no answer=-
    case $pid in
    - | unknown) used=$(($1 + 1)) ;;
    *)
        older_than_package && older=yes
        take "$@"
        if [ "$used" -gt 1 ]; then
            # A process that cannot tell its version has not proven that it is a new one.
            read -r answer rest <<END
$out
END
            [ "$status" -eq 0 ] && [ -n "$answer" ] || answer=unknown
        fi
        ;;
    esac
    see service "$service" "$pid" "$answer" "$older"
    used=$((used + both))
}

older_than_package() { # tells whether $pid started before the files of $package were laid down
    stat_of "$pid" || return 1
    # All in hundredths of a second, which is what Linux counts a process's start in.
    whole=${up%.*} part=${up#*.}
    started=$((now / 10000000 - (whole * 100 + 1$part - 100) + ticks))
    whole=${laid%.*} part=${laid#*.}
    [ "$started" -le "$((whole * 100 + 1$part - 100))" ]
}

see_config_management() { # COUNT WORD...
    limit=10
    take "$@"
    case $status in
    0) see config-management running ;;
    12[4-9] | 1[3-9]? | 2??) see config-management unknown "status $status $(head -n 1 "$scratch/error")" ;;
    *) see config-management stopped ;;
    esac
}

see_migrations() { # REGULAR-FOLDER POST-DEPLOYMENT-FOLDER COUNT WORD...
    regular=$1 post=$2 limit=120
    shift 2
    take "$@"
    used=$((used + 2))
    if [ "$status" -ne 0 ]; then
        see migrations unread "status $status $(tail -n 1 "$scratch/error")"
        return 0
    fi
    answer=nothing pending=
    while read -r word id rest; do
        case $word in up | down) ;; *) continue ;; esac
        case $id in *[!0-9A-Za-z_-]*) continue ;; esac
        [ "$answer" != nothing ] || answer=list
        [ "$word" = down ] || continue
        if in_folder "$regular"; then pending="$pending
pending regular $id"
        elif in_folder "$post"; then pending="$pending
pending post-deployment $id"
        else answer=strange pending=$id; break; fi
    done <<END
$out
END
    case $answer in
    list) see migrations read; seen=$seen$pending ;;
    strange) see migrations unread "$pending is pending and has no file" ;;
    nothing) see migrations unread "nothing was listed" ;;
    esac
}

in_folder() { # FOLDER: tells whether a file of it begins with $id
    for file in "$1/$id"*; do
        if [ -e "$file" ]; then return 0; fi
    done
    return 1
}

