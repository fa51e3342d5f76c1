#!/bin/sh
# One of three replicas of a tiny store. Arguments: its name, then the names of the two others.
#
# Every second a replica asks the others, over HTTP, who they follow. The first by name of those it reaches, itself among them, leads if
# they are a majority; else there is no leader. A write goes to the leader, which keeps it once a majority has it.
# What a replica says of itself lies in files that busybox' httpd serves: /srv/id, /srv/leader, /srv/value.

me=$1
shift
echo "$me" >/srv/id
echo none >/srv/leader
[ -e /srv/value ] || echo "0 nothing" >/srv/value
httpd -h /srv

# Who leads, as far as can be seen from here.
elect() {
    alive=$me
    for peer in "$@"; do
        wget -q -T 1 -O - "http://$peer/id" >/tmp/heard 2>/dev/null && alive="$alive $(cat /tmp/heard)"
    done
    set -- $alive
    if [ $# -ge 2 ]; then
        first=$(printf '%s\n' "$@" | sort | head -n 1)
    else
        first=none
    fi
    echo "$first" >/tmp/leader && mv /tmp/leader /srv/leader
}

# Takes over what others have that is newer: the first word of a value is its number.
catch_up() {
    for peer in "$@"; do
        wget -q -T 1 -O /tmp/theirs "http://$peer/value" 2>/dev/null || continue
        read -r theirs rest </tmp/theirs
        read -r mine rest </srv/value
        [ "$theirs" -gt "$mine" ] && mv /tmp/theirs /srv/value
    done
}

while true; do
    elect "$@"
    [ "$(cat /srv/leader)" = none ] || catch_up "$@"
    sleep 1
done
