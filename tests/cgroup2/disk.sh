#!/usr/bin/env bash
# Run as root: `disk.sh root TAR` makes the guest's system from Debian's packages; `disk.sh disk TAR IMAGES DIRECTORY` makes
# of it DIRECTORY/{disk.ext4,vmlinuz,initrd}, with the container images that IMAGES (of `docker save`) holds.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

make_root() {
  local setup
  # Three modules instead of every driver there is: the initrd is unpacked by an emulated processor.
  # shellcheck disable=SC2016
  setup='mkdir -p "$1/etc/initramfs-tools/conf.d" "$1/usr/share/initramfs-tools/modules.d"
    printf "MODULES=list\nCOMPRESS=lz4\n" >"$1/etc/initramfs-tools/conf.d/guest"
    printf "virtio_pci\nvirtio_blk\next4\n" >"$1/usr/share/initramfs-tools/modules.d/guest"'
  mmdebstrap --quiet --variant=minbase --mode=root --format=tar \
    --include=docker.io,linux-image-cloud-amd64,iproute2,kmod,lz4 \
    --include=systemd,dbus,dbus-user-session,libpam-systemd,rootlesskit,slirp4netns,uidmap \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' \
    --essential-hook="$setup" --customize-hook='chroot "$1" useradd --create-home --uid 1000 user' bookworm - >"$1"
}

# The images are unpacked by the guest's own dockerd, but on this machine's processor: seconds instead of minutes. It has
# mounts and process ids of its own, so that nothing is left of it whatever happens.
make_disk() {
  local root
  root=$(mktemp -d "$3/root.XXXX")
  # shellcheck disable=SC2064
  trap "rm -rf --one-file-system '$root'" EXIT
  tar -C "$root" --numeric-owner -xf "$1"
  cp -R "$here/rootfs/." "$root"
  # without one, systemd takes this for a first boot, and sets the system up
  tr -d - </proc/sys/kernel/random/uuid >"$root/etc/machine-id"
  unshare --mount --pid --fork --kill-child --propagation private \
    bash -euo pipefail -c "$(declare -f load_images load_into); load_images '$root'" <"$2"
  cp "$root"/boot/vmlinuz-* "$3/vmlinuz"
  cp "$root"/boot/initrd.img-* "$3/initrd"
  truncate -s 4G "$3/disk.ext4"
  mkfs.ext4 -q -F -m 0 -d "$root" "$3/disk.ext4"
}

load_images() {
  mount --bind "$1" "$1" # `docker load` remounts its root, which must be a mount for that
  mount -t proc proc "$1/proc"
  mount --rbind /sys "$1/sys"
  mount --rbind /dev "$1/dev"
  mount -t tmpfs tmpfs "$1/run"
  cd "$1"
  pivot_root . mnt # a user namespace cannot be made below a chroot
  cd /
  umount -l /mnt
  cat >/run/images
  load_into /var/lib/docker

  # And once more for the engine that a user starts: with the ids of files that its containers have.
  unshare --user --mount sleep infinity &
  local holder=$!
  while [ /proc/self/ns/user -ef "/proc/$holder/ns/user" ]; do sleep 0.1; done
  # by tee: the kernel takes a map in one write only
  for ids in uid gid; do printf '0 1000 1\n1 100000 65536\n' | tee "/proc/$holder/${ids}_map" >/dev/null; done
  install -d -o user -g user /home/user/.local /home/user/.local/share /home/user/.local/share/docker
  rm -rf /run/docker* /etc/docker/key.json # root's; the key, the engine's identity, is a new one at each boot
  chown user: /run /etc/docker
  load_into /home/user/.local/share/docker nsenter --target "$holder" --user --mount --setuid 0 --setgid 0
  chown -R root: /etc/docker
  rm -f /etc/docker/key.json
}

# The data of the engine, and what starts it.
load_into() {
  local data=$1
  shift
  "$@" dockerd --data-root "$data" --bridge=none --iptables=false --ip6tables=false 2>/run/log &
  local engine=$!
  for _ in $(seq 150); do
    docker version >/dev/null 2>&1 && break
    kill -0 "$engine" || break
    sleep 0.2
  done
  docker load --quiet </run/images || { tail -n 20 /run/log >&2; exit 1; }
  kill "$engine"
  wait "$engine"
}

"make_$1" "${@:2}"
