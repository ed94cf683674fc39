//! Lines of shell that do a damage inside a host, as root; capital words are put in.

pub(super) const CUT: &str = "nft -f - <<'END'
table inet serin_lab {
    chain input { type filter hook input priority 0; tcp dport 22 VERDICT; }
}
END";

/// Ports of SSH, Prometheus and Alertmanager: what users send is not touched.
pub(super) const LOSE: &str = "nft -f - <<'END'
table inet serin_lab {
    chain arrive {
        type filter hook input priority 0;
        tcp dport { 22, 9090, 9093 } numgen random mod 100 < PERCENT drop;
    }
    chain leave {
        type filter hook output priority 0;
        tcp sport { 22, 9090, 9093 } numgen random mod 100 < PERCENT drop;
    }
}
END";

/// apt calls dpkg for smaller things as well; this is the one that changes files.
pub(super) const AT_DPKG: &str = "passes=0
until dpkg=$(pgrep -o -f '^/usr/bin/dpkg .*--unpack'); do
    passes=$((passes + 1))
    [ $passes -le 12000 ]
    sleep 0.005
done
kill -SIGNAL $dpkg";

/// The second signal makes the shutdown fast: the first waits for sessions to end.
pub(super) const STOP_DATABASE: &str =
    "sv down postgresql; sv interrupt postgresql; sv -w 20 down postgresql";

/// The second command takes the rest: others write, and remove, while the first one looks and takes.
pub(super) const FILL_DISK: &str = "filler=/var/tmp/serin-lab-filler
fallocate -l \"$(($(df -B1 --output=avail / | tail -n 1) - 1048576))\" $filler || true
cat /dev/zero >>$filler || [ \"$(df -B1 --output=avail / | tail -n 1)\" -eq 0 ]";

/// HAProxy answers ten clients of a socket at once; the eleventh is accepted and left alone.
pub(super) const TAKE_CONNECTIONS: &str = "for client in 1 2 3 4 5 6 7 8 9 10; do
    setsid sh -c '(echo prompt; exec sleep 3600) |
        socat -t3600 - UNIX-CONNECT:/run/haproxy/admin.sock' </dev/null >/dev/null 2>&1 &
    echo $! >>/run/serin-lab-clients
done";

pub(super) const SWAP_HOST_KEY: &str = "mkdir -p /var/lib/serin-lab
key=/etc/ssh/ssh_host_ed25519_key
[ -e /var/lib/serin-lab/host_key ] || mv $key /var/lib/serin-lab/host_key
rm -f $key $key.pub
ssh-keygen -q -t ed25519 -N '' -f $key
sv restart sshd";

pub(super) const TAKE_SUDO: &str = "mkdir -p /var/lib/serin-lab
mv /etc/sudoers.d/deployer /var/lib/serin-lab/sudoers";

/// A killed dpkg leaves its last change in `updates`; apt then refuses everything until it is configured.
pub(super) const HALF_INSTALL: &str = "[ -n \"$(dpkg-query -W gitlab-ee)\" ]
version=$(dpkg-query -W -f '${Version}' gitlab-ee)
dpkg --status gitlab-ee |
    sed -e 's/^Status: .*/Status: install ok half-configured/' \
        -e \"/^Version: /a Config-Version: $version\" >/var/lib/dpkg/updates/0000.partial
mv /var/lib/dpkg/updates/0000.partial /var/lib/dpkg/updates/0000";
