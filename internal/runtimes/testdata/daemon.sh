# The only processes of a pid and a mount namespace: when this shell ends, so does every daemon, and all that was mounted is gone.
# Run as: sh daemon.sh FOLDER COMMAND...
set -eu
cd "$1"
shift
mount --make-rprivate /
mount -t proc proc /proc
for folder in /run /var/lib /var/log; do mount -t tmpfs tmpfs "$folder"; done
"$@" >daemon.log 2>&1
