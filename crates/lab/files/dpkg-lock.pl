# Holds dpkg's frontend lock for a number of seconds, as an unattended upgrade would: usage: perl - SECONDS
use strict;
use warnings;
use Fcntl;
open(my $lock, '>>', '/var/lib/dpkg/lock-frontend') or die "lock-frontend: $!";
# struct flock of Linux on 64 bits: type, whence, padding, start, length, pid.
my $whole_file = pack('s s x4 q q i', F_WRLCK, 0, 0, 0, 0);
fcntl($lock, F_SETLK, $whole_file) or die "lock-frontend: $!";
open(my $note, '>', '/run/serin-lab-dpkg-lock') or die "note: $!";
print $note "$$\n";
close($note);
sleep($ARGV[0]);
unlink('/run/serin-lab-dpkg-lock');
