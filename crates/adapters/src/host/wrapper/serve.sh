# ── Serving ─────────────────────────────────────────────────────────────────────────────────────────────────────

serve() {
    exec 3<&0 4>&1 </dev/null 1>&2
    if ! { [ -d "$state/jobs" ] || { mkdir -p "$state/jobs" && sync "$state" "${state%/*}"; }; }; then printf '\nSERIN-1 broken cannot make %s\n' "$state" >&4; exit 1; fi
    # In memory where there is any: a host whose disk is full must still be observed.
    scratch=$(mktemp -d /run/serin.XXXXXX) || scratch=$(mktemp -d "$state/scratch.XXXXXX") || {
        printf '\nSERIN-1 broken neither /run nor %s can be written to\n' "$state" >&4
        exit 1
    }
    trap 'rm -rf "$scratch" "$state/.blob.$$"' EXIT
    trap 'exit 1' HUP INT TERM PIPE
    printf '\nSERIN-1 ready\n' >&4
    while IFS= read -r operation <&3 && IFS= read -r count <&3; do
        set --
        while [ "$count" -gt 0 ]; do
            IFS= read -r argument <&3 || exit 0
            set -- "$@" "$argument"
            count=$((count - 1))
        done
        case $operation in
        hello | fence | observe | read | start | wait | look | haproxy | store | fits) "op_$operation" "$@" ;;
        *) end refused "unknown operation $operation" ;;
        esac
    done
}

mode=${1-}
[ $# -eq 0 ] || shift
case $mode in
serve | supervise | gate | fetch | keep | simulate) "$mode" "$@" ;;
install) install_build "$@" ;;
patch) patch_files "$@" ;;
unpatch) unpatch_files "$@" ;;
*) echo "this is Serin's: see docs/wrapper.md" >&2; exit 64 ;;
esac
