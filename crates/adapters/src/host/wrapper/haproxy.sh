# ── HAProxy ─────────────────────────────────────────────────────────────────────────────────────────────────────

op_haproxy() { # SOCKET FENCE|- SECONDS COMMAND...
    socket=$1 wanted_fence=$2
    shift 2
    if [ "$wanted_fence" = - ]; then haproxy_ask "$@"; return 0; fi
    lock || return 0
    if pass_fence "$wanted_fence"; then haproxy_ask "$@"; fi
    unlock
}

# One connection a command, read to its end: HAProxy's replies have no other reliable end. The whole answer is printed
# at once, so that a failure half-way leaves no half of a block. The master's socket knows no severity,
# and closes only when it is told to: its commands must end in `;quit`.
# shellcheck disable=SC2016 # perl's own variables.
haproxy_perl='
use strict; use Socket; use Errno;
my ($path, $seconds, @commands) = @ARGV;
my $blocks = "";
$SIG{PIPE} = "IGNORE";
sub failed { print "end socket $_[0]\n"; exit 0 }
for my $command (@commands) {
    my $reply = "";
    my $done = eval {
        local $SIG{ALRM} = sub { die "mute\n" };
        alarm $seconds;
        socket(my $s, PF_UNIX, SOCK_STREAM, 0) or die "broken $!\n";
        connect($s, pack_sockaddr_un($path)) or die $!{ENOENT} ? "missing\n" : $!{ECONNREFUSED} ? "dead\n" : "broken $!\n";
        my $line = $command =~ /^(@|show proc|reload)/ ? "$command\n" : "set severity-output number;$command\n";
        defined syswrite($s, $line) or die "broken $!\n";
        while (1) {
            my $got = sysread($s, $reply, 65536, length $reply);
            defined $got or die "broken $!\n";
            last if $got == 0;
            die "long\n" if length $reply > 16777216;
        }
        alarm 0;
        1;
    };
    if (!$done) { my $why = $@; alarm 0; chomp $why; failed($why) }
    failed("empty") if $reply eq "";
    $blocks .= "data " . length($reply) . "\n$reply";
}
print $blocks, "end ok\n";
'

haproxy_ask() { # SECONDS COMMAND...
    perl -e "$haproxy_perl" -- "$socket" "$@" </dev/null >&4 3<&- 8>&- || end socket "broken perl failed"
}

