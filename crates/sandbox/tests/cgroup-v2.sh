#!/bin/sh
# Runs the sandbox tests on cgroup v2, on a host that has its controllers on v1: in User Mode Linux, a kernel
# that is an ordinary process (Debian: apt-get install user-mode-linux). Its root is this host's, read-only.
#
#   tests/cgroup-v2.sh [filter]        prints the tests' output; its status is that of the tests
#
# First as root, then as a user to whom a cgroup has been delegated.
#
# Takes some minutes: User Mode Linux has one CPU and slow page faults.
set -eu
cd "$(dirname "$0")/.."
filter=${1:-}
test_binary=$(cargo test -p lambkin-sandbox --test it --no-run 2>&1 | sed -n 's/.*(\(.*\/it-[0-9a-f]*\)).*/\1/p')
case $test_binary in /*) ;; *) test_binary=$(cd ../.. && pwd)/$test_binary ;; esac

# /tmp is empty inside, /var/tmp is not.
work=$(mktemp -d /var/tmp/lambkin-uml.XXXXXX)
trap 'rm -rf "$work"' EXIT
# The user may not get at the originals.
cp "$test_binary" "$work/tests"
cp "$(dirname "$test_binary")/../lambkin-sandbox-spawner" "$work/spawner"
cat >"$work/init" <<EOF
#!/bin/sh
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev 2>/dev/null
mount -t tmpfs -o mode=1777 tmp /tmp
mount -t cgroup2 cgroup /sys/fs/cgroup
ip link set lo up
ulimit -n 20000
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
cd $PWD
$work/tests $filter --test-threads=1 --skip rootless && echo "cgroup v2: passed" || echo "cgroup v2: failed"

echo "+memory +cpu +pids" >/sys/fs/cgroup/cgroup.subtree_control
mkdir /sys/fs/cgroup/delegated
for file in . cgroup.procs cgroup.subtree_control cgroup.threads; do chown 12345:12345 /sys/fs/cgroup/delegated/\$file; done
echo \$\$ >/sys/fs/cgroup/delegated/cgroup.procs
export LAMBKIN_TEST_ISOLATION=user-namespaces LAMBKIN_TEST_DELEGATED=1 LAMBKIN_TEST_SPAWNER=$work/spawner
mkdir /tmp/user && chown 12345 /tmp/user && export TMPDIR=/tmp/user
setpriv --reuid=12345 --regid=12345 --clear-groups $work/tests $filter --test-threads=1 --skip rootless --skip plain \\
    && echo "delegated cgroup v2: passed" || echo "delegated cgroup v2: failed"
poweroff -f
EOF
chmod 755 "$work" "$work/init"
linux.uml rootfstype=hostfs rootflags=/ ro mem=2560M quiet init="$work/init" con=null con0=fd:0,fd:1 \
    </dev/null 2>&1 | tee "$work/log"
grep -q "^cgroup v2: passed" "$work/log" && grep -q "^delegated cgroup v2: passed" "$work/log"
