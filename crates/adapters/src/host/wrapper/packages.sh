# ── Packages ────────────────────────────────────────────────────────────────────────────────────────────────────
# What people read is the last line of the log; what Serin reads is the exit status, listed in docs/wrapper.md.

# How often a lock of apt's that it cannot wait for by itself is tried, 2 s apart: 10 minutes.
lock_tries=300

fail() { # STATUS TEXT
    echo "serin: $2"
    exit "$1"
}

logged_from() { tail -c "+$((log_from + 1))" "$log"; }

reason() { # the first line that says what was wrong since log_from
    why=$(logged_from | sed -n '/^dpkg: error processing/{N;s/\n */ /p;}' | head -n 1)
    [ -n "$why" ] || why=$(logged_from | sed -n 's/^E: //p; s/^dpkg: error: //p' | head -n 1)
    echo "${why:-it said nothing}"
}

patiently() { # PROGRAM ARGUMENT...: tries again as long as another process holds a lock
    tries=0
    while :; do
        log_from=$(wc -c <"$log")
        "$@" && return 0
        logged_from | grep -q -e 'Could not get lock' -e 'Unable to lock' -e 'lock was locked by another' || return 1
        tries=$((tries + 1))
        [ "$tries" -lt "$lock_tries" ] || fail 14 "another process kept apt's lock for 10 minutes: $(reason)"
        sleep 2
    done
}

apt() {
    apt-get -y -q -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold -o Dpkg::Use-Pty=0 \
        -o DPkg::Lock::Timeout=600 -o Acquire::Retries=3 --allow-downgrades --allow-change-held-packages "$@"
}

for_build() { # DIR ATTEMPT PACKAGE VERSION SHA256
    log_dir=$1 log=$1/log.$2 held=$1/held package=$3 version=$4 wanted_version=$4 digest=$5
    # Maintainer scripts may want more than ASCII.
    LC_ALL=C.UTF-8
    # apt writes a colon of the version so; the architecture is whatever there is.
    name=${package}_$(printf %s "$version" | sed 's/:/%3a/g')
}

cached() { # sets file and file_digest; true when the file has the build's bytes
    file='' file_digest=none
    for file in "$archives/$name"_*.deb; do
        [ -e "$file" ] || { file=''; continue; }
        file_digest=$(sha256sum <"$file")
        file_digest=${file_digest%% *}
        if [ "$file_digest" = "$digest" ]; then return 0; fi
    done
    return 1
}

listed() { # sets digests: what apt's lists say of the version
    digests=$(apt-cache show "$package=$version" 2>/dev/null | sed -n 's/^SHA256: *//p' | tr '\n' ' ')
    case " $digests" in *" $digest "*) return 0 ;; *) return 1 ;; esac
}

fetch() {
    for_build "$@"
    if cached; then echo "serin: $file was there already"; exit 0; fi
    # A file with other bytes would be taken for the right one by its name.
    rm -f "$archives/$name"_*.deb
    listed || refresh
    # The lists may be older than the repository, though they name the build: once more, with new ones.
    download || { refresh; download; } || fail 15 "cannot fetch $package $version: $(reason)"
    if cached; then echo "serin: fetched $file"; exit 0; fi
    [ -n "$file" ] || fail 10 "apt fetched $package $version, but not to $archives"
    rm -f "$file"
    fail 11 "what was fetched as $package $version has SHA-256 $file_digest, not $digest; it was removed"
}

download() {
    # An interrupted dpkg makes apt refuse even to fetch unless it takes no locks; what it fetches is proven anyway.
    # Mending is not done here: a fetch must change nothing on a host that serves.
    if [ -n "$(ls /var/lib/dpkg/updates 2>/dev/null)" ]; then set -- -o Debug::NoLocking=1; fi
    patiently apt "$@" -d --reinstall install "$package=$version"
}

refresh() { # one repository that is down must not matter if the build's bytes are listed all the same
    why=''
    patiently apt-get -q -o APT::Update::Error-Mode=any -o Acquire::Retries=3 update || why=$(reason)
    listed && return 0
    [ -z "$digests" ] || fail 11 "the repository has $package $version with SHA-256 ${digests% }, not $digest"
    [ -z "$why" ] || fail 15 "cannot update apt's lists: $why"
    fail 13 "no repository of this host has $package $version"
}

repair() { # its failure is not the end: installing the wanted version may be what mends it
    echo "serin: dpkg was interrupted; configuring what it left"
    patiently dpkg --configure -a --force-confdef --force-confold || echo "serin: not everything could be configured"
}

install_build() {
    for_build "$@"
    interrupted=$(ls /var/lib/dpkg/updates 2>/dev/null)
    [ -z "$interrupted$(dpkg --audit)" ] || repair
    query_package
    if [ "$found" = installed ] && [ "$version" = "$wanted_version" ]; then
        hold_again
        if [ -e "$log_dir/installing" ]; then remember; forget_patches; fi
        echo "serin: $package $version was installed already"
        exit 0
    fi
    # apt takes a half-installed package of the wanted version for the newest there is, and does nothing.
    again=''
    [ "$found" != broken ] || again=--reinstall
    version=$wanted_version
    cached || fail 10 "$package $version with SHA-256 $digest is not in $archives: it must be fetched first"
    # A repository that no longer has the version must not stop a host from going back to it: the file is there.
    what=$package=$version
    listed || what=$file
    log_from=$(wc -c <"$log")
    # shellcheck disable=SC2086 # One word or none.
    planned=$(apt -s --no-download $again install "$what") || fail 15 "apt cannot install $package $version: $(reason)"
    removed=$(printf '%s\n' "$planned" | sed -n -e 's/^Remv \([^ ]*\).*/\1/p' -e 's/^Purg \([^ ]*\).*/\1/p' | tr '\n' ' ')
    [ -z "$removed" ] || fail 12 "installing $package $version would remove: $removed"
    # apt drops a hold by installing; a restart of the host in between must not lose it.
    if [ -n "$(apt-mark showhold "$package")" ]; then : >"$held"; sync "$held"; fi
    : >"$log_dir/installing" && sync "$log_dir/installing"
    status=0
    # shellcheck disable=SC2086 # One word or none.
    patiently apt --no-download $again install "$what" || status=15
    why=$(reason)
    hold_again
    [ "$status" -eq 0 ] || fail 15 "installing $package $version failed: $why"
    query_package
    if [ "$found" = installed ] && [ "$version" = "$wanted_version" ]; then
        remember
        forget_patches
        echo "serin: installed $package $version"
        exit 0
    fi
    fail 16 "apt reported success, but dpkg says: $package $version $found $word"
}

# ── The way back ────────────────────────────────────────────────────────────────────────────────────────────────

# How many packages of one name stay in apt's archives: the installed one, its successor, and one more of each side.
most_kept=4

keep() { # DIR ATTEMPT PACKAGE VERSION: what is installed now is in the archives, so that this host can go back to it
    for_build "$@" ''
    query_package
    { [ "$found" = installed ] && [ "$version" = "$wanted_version" ]; } \
        || fail 18 "$package $wanted_version is not what is installed: $found $version $word"
    if ! kept; then
        # A file with other bytes would be taken for the right one by its name; where nobody knows the right bytes, it stays.
        [ -z "$digests$digest" ] || rm -f "$archives/$name"_*.deb
        download || { apt-get -q -o Acquire::Retries=3 update; download; } || true
        kept || fail 18 "the bytes of $package $version, which this host would go back to, are neither in $archives nor in a repository"
    fi
    prune_archives
    echo "serin: $file is kept for the way back"
    exit 0
}

kept() { # sets file; its bytes are those that were installed, as Serin, or apt, or the installed files themselves tell
    digest='' digests=''
    { read -r of digest <"$state/installed/$package"; } 2>/dev/null && [ "$of" = "$version" ] || digest=
    if [ -n "$digest" ]; then cached; return; fi
    listed
    for digest in $digests; do
        if cached; then return 0; fi
    done
    digest=
    for file in "$archives/$name"_*.deb; do
        if [ -e "$file" ] && same_files; then return 0; fi
    done
    return 1
}

same_files() { # the package would lay down the very files that dpkg knows of
    known=$(cat "/var/lib/dpkg/info/$package.md5sums" "/var/lib/dpkg/info/$package":*.md5sums 2>/dev/null | sort)
    brings=$(dpkg-deb --ctrl-tarfile "$file" 2>/dev/null | tar -xO ./md5sums 2>/dev/null | sort)
    [ -n "$known" ] && [ "$known" = "$brings" ]
}

prune_archives() { # the oldest go; what this host has, or was just given, never does
    # shellcheck disable=SC2012 # Names that apt makes.
    ls -1t "$archives/$package"_*.deb 2>/dev/null | tail -n "+$((most_kept + 1))" | while read -r oldest; do
        [ "$oldest" = "$file" ] || rm -f "$oldest"
    done
}

simulate() { # DIR ATTEMPT PACKAGE VERSION SHA256: what apt would do to install it, and then to go back
    for_build "$@"
    query_package
    from=$version from_state=$found version=$wanted_version
    cached || fail 10 "$package $version with SHA-256 $digest is not in $archives: it must be fetched first"
    new=$file what=$package=$version
    listed || what=$new
    log_from=$(wc -c <"$log")
    tried "$what" "installing $package $version"
    if [ "$from_state" != installed ] || [ "$from" = "$version" ]; then echo "serin: apt would install $package $version"; exit 0; fi
    version=$from name=${package}_$(printf %s "$from" | sed 's/:/%3a/g')
    kept || fail 18 "$package $from is not in $archives: this host could not go back to it"
    after_installing >"$log_dir/status" || fail 16 "cannot read $new"
    tried "$file" "going back to $package $from" -o Dir::State::status="$log_dir/status"
    rm -f "$log_dir/status"
    echo "serin: apt would install $package $wanted_version, and go back to $from"
    exit 0
}

tried() { # WHAT IN-WORDS OPTION...
    trying=$1 in_words=$2
    shift 2
    planned=$(apt -s --no-download -o Debug::NoLocking=1 "$@" install "$trying") || fail 15 "$in_words: apt cannot: $(printf '%s\n' "$planned" | sed -n 's/^E: //p' | head -n 1)"
    removed=$(printf '%s\n' "$planned" | sed -n -e 's/^Remv \([^ ]*\).*/\1/p' -e 's/^Purg \([^ ]*\).*/\1/p' | tr '\n' ' ')
    [ -z "$removed" ] || fail 12 "$in_words would remove: $removed"
}

after_installing() { # prints dpkg's status as it will be with the package $new
    awk -v own="$package" 'BEGIN { RS = ""; ORS = "\n\n" } { split($0, line, "\n"); if (line[1] != "Package: " own) print }' /var/lib/dpkg/status
    dpkg-deb -f "$new" | sed '1a Status: install ok installed'
    echo
}

remember() { # which bytes this version was installed from: dpkg does not know
    mkdir -p "$state/installed"
    put "$state/installed/$package" "$wanted_version $digest" || echo "serin: cannot write $state/installed/$package"
}

hold_again() {
    [ -e "$held" ] || return 0
    patiently apt-mark hold "$package" >/dev/null
    [ -n "$(apt-mark showhold "$package")" ] || fail 17 "$package was on apt hold, and could not be put back on it"
}

