#!/bin/sh
# One of three replicas of a value. Arguments: its own name, then the names of the other two.
#
# The value has a number, and the higher number is the newer value. Every second a replica asks the others for theirs and keeps the newest.
# With those who answer it makes a majority or not; the first by name of a majority leads. Who begins to lead opens a new thousand, so that
# nothing written under an older leader is ever newer. (It is no Raft: nobody votes, so a network that fails one way can fool it.)
# Other replicas and clients read /srv/value and /srv/leader by HTTP; `put.sh` writes.

me=$1
shift
cd /srv
echo "0 nothing" >value
echo none >leader
httpd -h /srv

while true; do
    majority=
    first=$me
    for peer in "$@"; do
        theirs=$(timeout 1 wget -qO- "http://$peer/value") || continue
        majority=yes
        first=$(printf '%s\n' "$first" "$peer" | sort | head -n 1)
        read -r mine text <value
        if [ "${theirs%% *}" -gt "$mine" ]; then echo "$theirs" >new && mv new value; fi
    done

    read -r before <leader
    leader=${majority:+$first}
    if [ "$leader" = "$me" ] && [ "$before" != "$me" ]; then
        read -r number text <value
        echo "$(((number / 1000 + 1) * 1000)) $text" >new && mv new value
    fi
    echo "${leader:-none}" >new && mv new leader
    sleep 1
done
