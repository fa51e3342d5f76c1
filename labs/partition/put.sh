#!/bin/sh
# A client's write at a replica. Arguments: the text, the replica's name, the names of the other two.
# Succeeds when a second replica has it, which with the leader is a majority: from then on it cannot be lost.

text=$1 me=$2
shift 2
cd /srv
read -r leader <leader
if [ "$leader" != "$me" ]; then echo "refused: the leader is $leader"; exit 1; fi

read -r number rest <value
written="$((number + 1)) $text"
echo "$written" >written && mv written value
for try in 1 2 3 4 5; do
    for peer in "$@"; do
        if [ "$(timeout 1 wget -qO- "http://$peer/value")" = "$written" ]; then echo "kept"; exit 0; fi
    done
    sleep 1
done
echo "unsure: no majority has it"
exit 1
