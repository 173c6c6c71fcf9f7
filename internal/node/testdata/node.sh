# A node: containerd and the kubelet, as the only processes of a pid and a mount namespace. When this shell ends, so does every container, and
# all that was mounted is gone. Run as: sh node.sh FOLDER KUBELET [ARGUMENT OF THE KUBELET]...
set -eu
cd "$1"

# Where both write whatever they are told.
mount --make-rprivate /
mount -t proc proc /proc
for folder in /run /var/lib /var/log; do mount -t tmpfs tmpfs "$folder"; done

containerd --config containerd.toml >containerd.log 2>&1 &
until ctr --address containerd.sock version >/dev/null 2>&1; do
	kill -0 $! # It has not ended.
	sleep 0.1
done
folder=$1 kubelet=$2
shift 2
"$kubelet" --config kubelet.yaml --kubeconfig kubeconfig --hostname-override node --root-dir "$folder/kubelet" --cert-dir pki "$@" >kubelet.log 2>&1
