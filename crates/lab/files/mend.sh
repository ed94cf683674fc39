#!/bin/sh
# Undoes, on one host, whatever `serin-lab break` may have done to it. Harmless where nothing was done.
set -u
kept=/var/lib/serin-lab

nft delete table inet serin_lab 2>/dev/null
rm -f /var/tmp/serin-lab-filler
pkill -CONT -x dpkg
if [ -e "$kept/sudoers" ]; then mv "$kept/sudoers" /etc/sudoers.d/deployer; fi
if [ -e "$kept/host_key" ]; then
    mv "$kept/host_key" /etc/ssh/ssh_host_ed25519_key
    sv restart sshd
fi
if [ -e /run/serin-lab-dpkg-lock ]; then
    kill "$(cat /run/serin-lab-dpkg-lock)" 2>/dev/null
    rm -f /run/serin-lab-dpkg-lock
fi
# An installation that goes on leaves the same traces as one that was interrupted.
if ! pgrep -x 'apt-get|dpkg' >/dev/null && [ -n "$(dpkg --audit 2>/dev/null)$(ls /var/lib/dpkg/updates)" ]; then
    DEBIAN_FRONTEND=noninteractive dpkg --configure -a --force-confold || echo "dpkg is still broken" >&2
fi
if [ -e /run/serin-lab-mute ]; then
    kill "$(cat /run/serin-lab-mute)" 2>/dev/null
    rm -f /run/serin-lab-mute /run/haproxy/admin.sock
fi
if [ -e /run/serin-lab-clients ]; then
    # Each is the leader of a session of its own.
    while read -r client; do pkill -s "$client"; done </run/serin-lab-clients
    rm -f /run/serin-lab-clients
fi
if [ -e /run/lie/nginx.pid ]; then
    kill "$(cat /run/lie/nginx.pid)" 2>/dev/null
    rm -rf /run/lie
fi
if [ -e /run/haproxy/admin.sock.away ]; then mv /run/haproxy/admin.sock.away /run/haproxy/admin.sock; fi
if [ -e "$kept/haproxy.cfg" ]; then
    mv "$kept/haproxy.cfg" /etc/haproxy/haproxy.cfg
    sv 2 haproxy
fi
for service in haproxy alertmanager postgresql; do
    if [ -e "/etc/service/$service" ]; then sv up "$service"; fi
done
exit 0
