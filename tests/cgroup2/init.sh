#!/bin/sh
# The guest's process 1: mounts one cgroup version, and runs a Docker Engine that its host can reach.
set -eu
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
said() { tr ' ' '\n' </proc/cmdline | sed -n "s/^guest.$1=//p"; }

# /proc, /sys, /dev and /run are the initrd's. Whatever becomes of the host's side, the guest ends.
(sleep "$(said seconds)"; echo o >/proc/sysrq-trigger) &

if [ "$(said cgroups)" = 2 ]; then
  mount -t cgroup2 cgroup2 /sys/fs/cgroup
  # As a service on a real machine, the engine is not in the root cgroup: only below it, and with the controllers passed
  # down, does memory.swap.max exist, where Docker looks for it.
  mkdir /sys/fs/cgroup/engine
  echo $$ >/sys/fs/cgroup/engine/cgroup.procs
  sed 's/[a-z]*/+&/g' /sys/fs/cgroup/cgroup.controllers >/sys/fs/cgroup/cgroup.subtree_control
else
  mount -t tmpfs cgroup /sys/fs/cgroup
  # cpu and cpuacct share a mount, with a link for each name, as systemd has it
  for controllers in cpuset cpu,cpuacct blkio memory devices freezer pids; do
    mkdir "/sys/fs/cgroup/$controllers"
    mount -t cgroup -o "$controllers" cgroup "/sys/fs/cgroup/$controllers"
  done
  ln -s cpu,cpuacct /sys/fs/cgroup/cpu
  ln -s cpu,cpuacct /sys/fs/cgroup/cpuacct
fi

# Swap, so that "no swap" is a limit that holds something back.
mkswap /dev/vdb >/dev/null
swapon /dev/vdb

modprobe -a virtio_net overlay
ip link set lo up
ip address add 10.0.2.15/24 dev eth0
ip link set eth0 up
# --tls=false said aloud: without it dockerd waits 15 seconds for second thoughts. Only the host's loopback gets here.
# The host's cgroup namespace is a default that some daemons have; bakeoff must ask for another.
# Not `exec`: process 1 must reap what the containers leave, and dockerd does not.
dockerd -H tcp://0.0.0.0:2375 --tls=false --default-cgroupns-mode=host \
  --bridge=none --iptables=false --ip6tables=false || :
echo o >/proc/sysrq-trigger
sleep 10
