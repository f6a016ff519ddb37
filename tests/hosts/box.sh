#!/usr/bin/env bash
# Run as root: `box.sh TREE PLACE COMMAND...` runs an engine in mounts and process ids of its own, so that nothing of it
# is left whatever happens. TREE is its root directory, which it does not change. PLACE, which it may change, is at the
# same path inside and outside. With ROOTLESS set, a user of its own runs the command.
set -euo pipefail
tree=$1 place=$2
shift 2

# A user namespace cannot be made below a chroot, so the tree becomes the root of the mounts.
enter_tree() {
  mkdir -p "$place/upper" "$place/work" "$place/root"
  local root=$place/root
  mount -t overlay -o "lowerdir=$tree,upperdir=$place/upper,workdir=$place/work" overlay "$root"
  mount -t proc proc "$root/proc"
  mount --rbind /sys "$root/sys"
  mount --rbind /dev "$root/dev"
  mount -t tmpfs tmpfs "$root/run"
  mkdir -p "$root$place"
  mount --bind "$place" "$root$place"
  cd "$root"
  pivot_root . mnt
  cd /
  umount -l /mnt
}

if [ "${BOXED:-}" ]; then
  enter_tree
  unset BOXED
  # crun refuses a machine that has both versions of cgroups
  if [ -d /sys/fs/cgroup/unified ]; then umount /sys/fs/cgroup/unified; fi
  if [ "${ROOTLESS:-}" ]; then
    useradd --uid 4711 --no-create-home --home-dir "$place/home" user
    echo user:100000:65536 | tee /etc/subuid >/etc/subgid
    mkdir -m 700 "$place/home" "$place/session"
    chown user: "$place" "$place"/{home,session}
    # as udev makes it for every user
    mknod -m 666 "$place/tun" c 10 200
    mount --bind "$place/tun" /dev/net/tun
    set -- setpriv --reuid=user --regid=user --clear-groups \
      env HOME="$place/home" XDG_RUNTIME_DIR="$place/session" "$@"
  fi
  # Not `exec`: process 1 must reap what containers leave, and an engine does not.
  "$@" &
  trap 'kill "$!"' TERM
  wait "$!" || wait "$!"
else
  BOXED=1 exec unshare --mount --pid --fork --kill-child --propagation private "$0" "$tree" "$place" "$@"
fi
