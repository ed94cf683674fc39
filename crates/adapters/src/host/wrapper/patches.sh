
# ── Patches ─────────────────────────────────────────────────────────────────────────────────────────────────────
# A patch is a table of files, each with its bytes before and after by SHA-256, `none` where there is no file. All of them
# change, or none. In patches/ID are: blobs/SHA256, the bytes of both sides; `files`, the table with modes and owners,
# written before the first file changes; `applied`, written when all have changed and were read again; `made`, the folders
# that were made. `files` without `applied` means that a job is in the middle, or died there: the next one goes on from
# whatever it finds, for every file is then the one or the other.

most_bytes=33554432

op_store() { # FENCE ID SHA256 SIZE, and then so many bytes, all of which are read whatever becomes of them
    incoming=$state/.blob.$$
    if [ "$4" -gt "$most_bytes" ]; then
        head -c "$4" <&3 >/dev/null
        end refused "$4 bytes are more than a patch's file may have"
        return 0
    fi
    head -c "$4" <&3 | { cat >"$incoming" || { cat >/dev/null; false; }; }
    kept=$?
    arrived=$(sha256sum <"$incoming")
    if [ "$kept" -ne 0 ]; then
        rm -f "$incoming"
        end refused "cannot write $4 bytes to $state"
    elif [ "${arrived%% *}" != "$3" ]; then
        rm -f "$incoming"
        end refused "what arrived is not $3"
    else
        store_fenced "$@"
        rm -f "$incoming"
    fi
}

store_fenced() { # FENCE ID SHA256 SIZE
    lock || return 0
    blobs=$state/patches/$2/blobs
    if pass_fence "$1"; then
        if mkdir -p "$blobs" && sync "$incoming" && mv "$incoming" "$blobs/$3" && sync "$blobs"; then end ok
        else end refused "cannot write to $blobs"; fi
    fi
    unlock
}

see_patches() { # what this host carries, and every file that has no longer the bytes of it
    for record in "$state/patches"/*/files; do
        [ -e "$record" ] || continue
        folder=${record%/files}
        word=half
        [ ! -e "$folder/applied" ] || word=applied
        { see_patch || see broken "${folder##*/}"; } <"$record"
    done
}

op_fits() { # ID PACKAGE VERSION [MODE BEFORE AFTER PATH]...: tells whether the patch could be applied now; changes nothing
    id=$1 package=$2 wanted_version=$3
    folder=$state/patches/$id blobs=$state/patches/$id/blobs record=$state/patches/$id/files table=$scratch/table
    direction=patch
    shift 3
    said=$(write_table "$@" && { right_version || fail 20 "$package $wanted_version is not what is installed: $found $version $word"; } \
        && check_files && echo "serin: $to_do")
    status=$?
    said=${said#serin: }
    if [ "$status" -eq 0 ]; then end fits "${said:-0}"; else end refused "${said:-cannot write to $scratch}"; fi
}

# A package that was installed laid down its own files, and knows nothing of those that a patch of before had made.
forget_patches() {
    for record in "$state/patches"/*/files; do
        [ -e "$record" ] || continue
        folder=${record%/files}
        read -r of was <"$record"
        if [ "$of" != "$package" ] || [ "$was" = "$wanted_version" ]; then continue; fi
        while read -r mode uid gid before after path; do
            [ "$before" = none ] || continue
            look_at "$path"
            [ "$has" = "$after" ] || continue
            dpkg-query -S "$path" >/dev/null 2>&1 || rm -f "$path"
        done <"$record"
        remove_folders
        rm -f "$folder/applied" "$record" && sync "$folder" && rm -rf "$folder"
    done
}

see_patch() {
    read -r package version && [ -n "$version" ] || return 1
    see patch "${folder##*/}" "$package" "$version" "$word"
    while read -r mode uid gid before after path; do
        look_at "$path"
        [ "$has" = "$after" ] || see changed "$path"
    done
}

look_at() { # PATH: sets has: a SHA-256, none, or odd with why
    has=odd why=
    parent=${1%/*}
    while [ ! -e "$parent/." ] && [ ! -L "$parent" ]; do parent=${parent%/*}; done
    if [ "$(realpath -e "${parent:-/}" 2>/dev/null)" != "${parent:-/}" ]; then why="$parent is, or lies under, a symbolic link"
    elif [ -L "$1" ]; then why="it is a symbolic link"
    elif [ ! -e "$1" ]; then has=none
    elif [ ! -f "$1" ]; then why="it is not a regular file"
    elif [ "$(stat -c %h "$1")" != 1 ]; then why="it has more than one name"
    else
        has=$(sha256sum <"$1")
        has=${has%% *}
    fi
}

patch_files() { # DIR ATTEMPT ID PACKAGE VERSION [MODE BEFORE AFTER PATH]...
    direction=patch wanted=applied
    change_files "$@"
}

unpatch_files() { # the same; the way back
    direction=unpatch wanted='backed out'
    change_files "$@"
}

change_files() {
    id=$3 package=$4 wanted_version=$5
    folder=$state/patches/$id blobs=$state/patches/$id/blobs record=$state/patches/$id/files table=$state/patches/$id/.table
    shift 5
    # The test first: a shell ends when it cannot redirect for `exec`.
    { mkdir -p "$blobs" && touch "$state/patches/lock"; } || fail 24 "cannot write to $state/patches"
    exec 7>"$state/patches/lock"
    flock -w 60 7 || fail 25 "another patch is being worked on"
    write_table "$@" || fail 24 "cannot write to $folder"
    right_version || fail 20 "$package $wanted_version is not what is installed: $found $version $word"
    remove_staged
    check_files
    if [ "$to_do" -gt 0 ]; then
        keep_originals
        stage_files
        begin_change || { remove_staged; fail 24 "cannot write to $folder"; }
        { swap_files && prove_files && right_version; } || put_back "$why"
    fi
    finish
}

write_table() { # MODE BEFORE AFTER PATH, turned to MODE FROM TO PATH
    true >"$table" || return 1
    while [ $# -ge 4 ]; do
        if [ "$direction" = patch ]; then line="$1 $2 $3 $4"; else line="$1 $3 $2 $4"; fi
        printf '%s\n' "$line" >>"$table" || return 1
        shift 4
    done
}

right_version() {
    query_package
    why="$package is $found $version $word"
    [ "$found" = installed ] && [ "$version" = "$wanted_version" ]
}

check_files() { # each must be as before or as after; sets to_do, how many are still to change
    to_do=0
    while read -r mode from to path; do
        look_at "$path"
        case $has in
        "$to") continue ;;
        "$from") to_do=$((to_do + 1)) ;;
        odd) fail 21 "$path is never patched: $why. Nothing was changed" ;;
        *) fail 22 "$path has other bytes, $has, than before or after. Nothing was changed" ;;
        esac
        [ "$to" = none ] || has_blob "$to" || fail 23 "the bytes of $path were not stored on this host. Nothing was changed"
        known_owner || fail 23 "$path is gone, and its owner and mode are not known. Nothing was changed"
    done <"$table"
}

has_blob() { # SHA256
    [ -f "$blobs/$1" ] || return 1
    blob=$(sha256sum <"$blobs/$1")
    [ "${blob%% *}" = "$1" ]
}

known_owner() { # sets mode, uid and gid of what will be at $path
    uid=0 gid=0
    if [ -e "$path" ]; then
        owner=$(stat -c '%a %u %g' "$path") || return 1
    elif [ "$mode" = - ]; then
        owner=$(recorded_owner) && [ -n "$owner" ] || return 1
    else
        return 0
    fi
    read -r mode uid gid <<END
$owner
END
}

recorded_owner() {
    [ -e "$record" ] || return 1
    while read -r mode uid gid before after recorded; do
        if [ "$recorded" = "$path" ]; then echo "$mode $uid $gid"; return 0; fi
    done <"$record"
    return 1
}

keep_originals() {
    while read -r mode from to path; do
        if [ "$from" = none ] || has_blob "$from"; then continue; fi
        look_at "$path"
        [ "$has" = "$from" ] || continue
        cp "$path" "$blobs/.new" && sync "$blobs/.new" && mv "$blobs/.new" "$blobs/$from" && has_blob "$from" \
            || fail 24 "cannot keep the original of $path in $blobs. Nothing was changed"
    done <"$table"
    sync "$blobs"
}

# No name that a service would load, in the folder of the file itself: a rename is only whole on one file system.
staged() { echo "${path%/*}/.serin-$(printf %.12s "$id")-$number"; }

remove_staged() {
    number=0
    while read -r mode from to path; do
        number=$((number + 1))
        rm -f "$(staged)"
    done <"$table"
}

stage_files() {
    number=0
    while read -r mode from to path; do
        number=$((number + 1))
        look_at "$path"
        if [ "$has" = "$to" ] || [ "$to" = none ]; then continue; fi
        make_folders && stage "$to" && continue
        remove_staged
        remove_folders
        fail 24 "cannot write beside $path. Nothing was changed"
    done <"$table"
}

stage() { # SHA256: with a new time of change, for services compile and cache by it
    new=$(staged)
    known_owner && cp "$blobs/$1" "$new" && chown "$uid:$gid" "$new" && chmod "$mode" "$new" && sync "$new"
}

make_folders() { # the missing ones above $path, like the code around them
    missing=${path%/*}
    [ ! -d "$missing" ] || return 0
    above=
    while [ ! -d "$missing" ]; do
        above="$missing
$above"
        missing=${missing%/*}
    done
    printf %s "$above" >>"$folder/made" && sync "$folder/made" || return 1
    while read -r missing; do
        [ -z "$missing" ] || { mkdir "$missing" && chmod 755 "$missing"; } || return 1
    done <<END
$above
END
}

remove_folders() { # those that were made and are empty, the deepest first
    [ -e "$folder/made" ] || return 0
    sort -r "$folder/made" | while read -r missing; do rmdir "$missing" 2>/dev/null; done
    rm -f "$folder/made"
}

begin_change() { # from here on, the host is in the middle; what was there is written down once for a version
    rm -f "$folder/applied"
    if [ -e "$record" ]; then
        read -r recorded_package recorded_version <"$record"
        [ "$recorded_package $recorded_version" != "$package $wanted_version" ] || { sync "$folder"; return 0; }
    fi
    lines="$package $wanted_version"
    while read -r mode from to path; do
        before=$from after=$to
        [ "$direction" = patch ] || before=$to after=$from
        known_owner || continue
        lines="$lines
$mode $uid $gid $before $after $path"
    done <"$table"
    put "$record" "$lines"
}

swap_files() {
    number=0
    while read -r mode from to path; do
        number=$((number + 1))
        look_at "$path"
        why="$path could not be changed"
        [ "$has" != "$to" ] || continue
        [ "$has" = "$from" ] || { why="$path changed meanwhile"; return 1; }
        if [ "$to" = none ]; then rm -f "$path" || return 1; else mv -fT "$(staged)" "$path" || return 1; fi
        sync "${path%/*}"
    done <"$table"
}

prove_files() {
    while read -r mode from to path; do
        look_at "$path"
        [ "$has" = "$to" ] || { why="$path has not the bytes that were put there"; return 1; }
    done <"$table"
}

put_back() { # WHY: as it was before this job; ends it
    failed=$1 left=
    number=0
    while read -r mode from to path; do
        number=$((number + 1))
        look_at "$path"
        [ "$has" != "$from" ] || continue
        if [ "$has" = "$to" ]; then
            if [ "$from" = none ]; then rm -f "$path"
            elif has_blob "$from" && stage "$from"; then mv -fT "$new" "$path"; fi
        fi
        sync "${path%/*}"
        look_at "$path"
        [ "$has" = "$from" ] || left="$left $path"
    done <"$table"
    remove_staged
    [ -z "$left" ] || fail 27 "$failed; and these files could not be put back:$left"
    if [ "$direction" = patch ]; then
        remove_folders
        rm -f "$record"
        sync "$folder"
    else
        put "$folder/applied" "$wanted_version"
    fi
    fail 26 "$failed; every file is as it was before"
}

finish() {
    remove_staged
    rm -f "$table"
    if [ "$direction" = patch ]; then
        { begin_change && put "$folder/applied" "$wanted_version"; } || fail 24 "cannot write to $folder"
    else
        remove_folders
        rm -f "$folder/applied" "$record" && sync "$folder" && rm -rf "$folder"
    fi
    if [ "$to_do" -gt 0 ]; then echo "serin: patch $id was $wanted"; else echo "serin: patch $id was $wanted already"; fi
    exit 0
}
