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
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' \
    --essential-hook="$setup" bookworm - >"$1"
}

# The images are unpacked by the guest's own dockerd, but on this machine's processor: seconds instead of minutes. It has
# mounts and process ids of its own, so that nothing is left of it whatever happens.
make_disk() {
  local root
  root=$(mktemp -d "$3/root.XXXX")
  # shellcheck disable=SC2064
  trap "rm -rf --one-file-system '$root'" EXIT
  tar -C "$root" --numeric-owner -xf "$1"
  unshare --mount --pid --fork --kill-child --propagation private \
    bash -euo pipefail -c "$(declare -f load_images); load_images '$root' '$2'"
  cp "$root"/boot/vmlinuz-* "$3/vmlinuz"
  cp "$root"/boot/initrd.img-* "$3/initrd"
  install -m 755 "$here/init.sh" "$root/sbin/guest"
  truncate -s 4G "$3/disk.ext4"
  mkfs.ext4 -q -F -m 0 -d "$root" "$3/disk.ext4"
}

load_images() {
  mount --bind "$1" "$1" # `docker load` remounts its root, which must be a mount for that
  mount -t proc proc "$1/proc"
  mount --rbind /sys "$1/sys"
  mount --rbind /dev "$1/dev"
  mount -t tmpfs tmpfs "$1/run"
  chroot "$1" dockerd --bridge=none --iptables=false --ip6tables=false 2>"$1/run/log" &
  local engine=$!
  for _ in $(seq 150); do
    chroot "$1" docker version >/dev/null 2>&1 && break
    kill -0 "$engine" || break
    sleep 0.2
  done
  chroot "$1" docker load --quiet <"$2" || { tail -n 20 "$1/run/log" >&2; exit 1; }
  kill "$engine"
  wait "$engine"
  rm -f "$1/etc/docker/key.json" # the engine's identity: a new one at each boot
}

"make_$1" "${@:2}"
