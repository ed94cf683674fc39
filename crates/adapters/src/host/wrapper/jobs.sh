# ── Who lives ───────────────────────────────────────────────────────────────────────────────────────────────────

stat_of() { # PID: state, group and start of a process; its name may hold anything but ends at the last bracket
    { IFS= read -r stat <"/proc/$1/stat"; } 2>/dev/null || return 1
    # A line end in the name, which only a name made to deceive has.
    case $stat in *') '*) ;; *) stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 1 ;; esac
    # shellcheck disable=SC2086 # The fields are numbers, one letter aside.
    set -- ${stat##*) }
    [ $# -ge 20 ] || return 1
    letter=$1 group=$3
    shift 19
    ticks=$1
}

boot_identity() { # a host may be a container: its kernel lives on when it is restarted, its first process does not
    IFS= read -r boot </proc/sys/kernel/random/boot_id
    stat_of 1 && boot=$boot-$ticks
}

group_lives() { # FILE started.N: tells whether any process of the job's group is alive
    read -r leader group_of_job started_at started_boot <"$1" || return 1
    boot_identity
    [ "$boot" = "$started_boot" ] || return 1
    kill -0 "-$group_of_job" 2>/dev/null || return 1
    # A number is not given out again while a group has it, so another process under it means that the group is gone.
    if stat_of "$leader" && [ "$ticks" != "$started_at" ]; then return 1; fi
    for process in /proc/[0-9]*; do
        stat_of "${process#/proc/}" || continue
        if [ "$group" = "$group_of_job" ] && [ "$letter" != Z ]; then return 0; fi
    done
    return 1
}

# ── Jobs ────────────────────────────────────────────────────────────────────────────────────────────────────────

last_of() { # WORD: the highest N of WORD.N in the job's directory, 0 if there is none
    last=0
    for file in "$dir/$1".*; do
        number=${file##*.}
        case $number in '' | *[!0-9]*) continue ;; esac
        [ "$number" -le "$last" ] || last=$number
    done
}

judge() { # sets job (never, running, exited, died) and last, the attempt that this is about
    job=never
    last_of claimed
    [ "$last" -gt 0 ] || return 0
    exec 9<"$dir/lock"
    if ! flock -n -s 9; then job=running; fi
    exec 9<&-
    [ "$job" = never ] || return 0
    last_of started
    [ "$last" -gt 0 ] || return 0
    judge_unlocked
}

judge_unlocked() { # the supervisor of attempt $last is gone
    if [ -e "$dir/done.$last" ]; then job=exited
    elif [ ! -e "$dir/started.$last" ]; then job=never
    elif group_lives "$dir/started.$last"; then job=running
    else job=died; fi
}

tell_job() { # note, log, and how attempt $last is
    [ "$job" != never ] || { end never; return 0; }
    { read -r fence; IFS= read -r note; } <"$dir/claimed.$last"
    block "$note"
    block_of_log "$dir/log.$last"
    status=
    [ "$job" != exited ] || IFS= read -r status <"$dir/done.$last"
    end "$job" "$last" "$status"
}

op_look() { # RUN STEP
    dir=$state/jobs/$1/$2
    judge
    tell_job
}

op_start() { # RUN STEP ATTEMPT FENCE NOTE KIND ARGUMENT...
    dir=$state/jobs/$1/$2 run=$state/jobs/$1 attempt=$3 wanted_fence=$4 note=$5
    shift 5
    lock || return 0
    if pass_fence "$wanted_fence"; then start_fenced "$@"; fi
    unlock
}

start_fenced() { # KIND ARGUMENT...: attaches, answers with what is known, or starts
    judge
    if [ "$job" = running ]; then end running "$last"; return 0; fi
    if [ "$attempt" -lt "$last" ]; then end refused "attempt $last of this step came after attempt $attempt"; return 0; fi
    if [ "$job" != never ] && [ "$attempt" -eq "$last" ]; then tell_job; return 0; fi
    if ! claim; then
        exec 9>&-
        end refused "cannot write $dir: $(df -P "$state" | tail -n 1)"
        return 0
    fi
    # The lock passes on to the supervisor: it is never free between this line and the end of the job.
    setsid "$0" supervise "$dir" "$attempt" "$@" </dev/null >/dev/null 2>&1 3<&- 4>&- 8>&- &
    exec 9>&-
    end running "$attempt"
}

claim() { # not on disk yet: until `gate` puts it there, with the start itself, nothing has begun
    # In a shell of its own, for what goes wrong there must not matter to the job.
    [ -d "$run" ] || (sweep_jobs) >/dev/null 2>&1 3<&- 4>&-
    [ -d "$run" ] || { mkdir "$run" && sync "$state/jobs"; } || return 1
    [ -d "$dir" ] || mkdir "$dir" || return 1
    exec 9>"$dir/lock"
    flock -w 5 9 || return 1
    printf 'fence %s\n%s\n' "$wanted_fence" "$note" >"$dir/.claimed.new" \
        && mv "$dir/.claimed.new" "$dir/claimed.$attempt"
}

op_wait() { # RUN STEP ATTEMPT SECONDS: until the attempt ends, at most so long; the supervisor's lock wakes it
    dir=$state/jobs/$1/$2 last=$3 deadline=$4
    if [ ! -e "$dir/lock" ]; then end never; return 0; fi
    exec 9<"$dir/lock"
    job=
    flock -s -w "$deadline" 9 || job=running
    exec 9<&-
    if [ -z "$job" ]; then
        judge_unlocked
        # Only a job whose supervisor was killed gets here: nothing will tell of its end.
        passes=0
        while [ "$job" = running ] && [ "$passes" -lt "$((deadline * 5))" ]; do
            sleep 0.2
            passes=$((passes + 1))
            judge_unlocked
        done
    fi
    if [ "$job" = running ]; then end running "$last"; else tell_job; fi
}

supervise() { # DIR ATTEMPT KIND ARGUMENT..., holding the job's lock as fd 9
    dir=$1 last=$2
    setsid "$0" gate "$@" </dev/null >"$dir/log.$last" 2>&1 &
    wait $!
    status=$?
    while [ -e "$dir/started.$last" ] && group_lives "$dir/started.$last"; do sleep 0.2; done
    # A full disk must not turn a job that ended into one that died, not before someone had ten minutes to notice.
    passes=0
    until put "$dir/done.$last" "$status" || [ "$passes" -ge 600 ]; do sleep 1; passes=$((passes + 1)); done
}

gate() { # DIR ATTEMPT KIND ARGUMENT...: becomes the job, once it is on disk which process that is
    dir=$1 last=$2 kind=$3
    shift 3
    boot_identity
    stat_of $$
    if ! put_start; then echo "serin: cannot write $dir"; exit 125; fi
    exec 9>&-
    case $kind in
    command) clean "$@" ;;
    fetch | install | keep | simulate | patch | unpatch) clean "$0" "$kind" "$dir" "$last" "$@" ;;
    esac
}

put_start() {
    started=$dir/.started.new
    printf '%s\n' "$$ $$ $ticks $boot" >"$started" && sync "$dir/claimed.$last" "$started" \
        && mv "$started" "$dir/started.$last" && sync "$dir" "${dir%/*}"
}

clean() { # [NAME=VALUE]... PROGRAM ARGUMENT...: becomes the program, in a small and known environment
    # shellcheck disable=SC2086 # Words of our own.
    exec env -i --default-signal $environment "$@"
}

# ── Jobs of runs that are over ──────────────────────────────────────────────────────────────────────────────────
# A run's first job on a host is when its earlier runs are over: the run could not have claimed the environment otherwise.

# Whoever asks what happened to a host asks about its last runs, or about those of the last two weeks.
kept_runs=10
kept_days=14
# The lock is held meanwhile, and a job waits. The rest is left to the next run.
swept_at_once=50

sweep_jobs() {
    rm -rf "$state/jobs"/.over.*
    swept=0
    # By the time of a run's last step here, the oldest first.
    ls -t "$state/jobs" | tail -n "+$((kept_runs + 1))" | tac | while [ "$swept" -lt "$swept_at_once" ] && IFS= read -r name; do
        is_over "$state/jobs/$name" || continue
        # Out of sight first: half a job would be taken for one that died.
        mv -T "$state/jobs/$name" "$state/jobs/.over.$name" && rm -rf "$state/jobs/.over.$name"
        swept=$((swept + 1))
    done
}

is_over() { # FOLDER: nothing in it is young, or runs, or was asked for by whoever acts on this host now
    young=$(find "$1" -mtime "-$kept_days" -print -quit) && [ -z "$young" ] || return 1
    for dir in "$1"/*; do
        [ -e "$dir/lock" ] || continue
        judge
        [ "$job" != running ] || return 1
        if cat "$dir"/claimed.* 2>/dev/null | grep -qx "fence $wanted_fence"; then return 1; fi
    done
}
