//! The system calls that sandboxes may not make (`EPERM`). Everything else is allowed.
//!
//! Most of these need privileges that a sandbox does not have anyway; the filter keeps their code in the
//! kernel out of reach.

use libc::c_long;

/// Denied whatever the arguments.
pub(crate) const DENIED: &[c_long] = &[
    // Mounts and roots.
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_mount_setattr,
    libc::SYS_quotactl,
    libc::SYS_quotactl_fd,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    // Opens files past all directory permissions.
    libc::SYS_open_by_handle_at,
    libc::SYS_name_to_handle_at,
    // Namespaces (`clone` with namespace flags is below, `clone3` in the entry filter).
    libc::SYS_unshare,
    libc::SYS_setns,
    // Looking into other processes.
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_pidfd_getfd,
    libc::SYS_kcmp,
    libc::SYS_move_pages,
    libc::SYS_migrate_pages,
    // Large interfaces with a history of kernel bugs, of no use to functions.
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_fanotify_init,
    libc::SYS_lookup_dcookie,
    libc::SYS_vhangup,
    // Key rings, which are not in a namespace.
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    // The host as a whole.
    libc::SYS_kexec_load,
    libc::SYS_kexec_file_load,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_reboot,
    libc::SYS_acct,
    libc::SYS_syslog,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_clock_adjtime,
    libc::SYS_adjtimex,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_nfsservctl,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_iopl,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_ioperm,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_modify_ldt,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_uselib,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_ustat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_sysfs,
    #[cfg(target_arch = "x86_64")]
    libc::SYS__sysctl,
];

/// A test of one argument (its lower 32 bits, which is all that these calls look at).
#[derive(Debug)]
pub(crate) struct Condition {
    /// Number of the argument, from 0.
    pub(crate) argument: u8,
    /// The test.
    pub(crate) test: Test,
}

/// See [`Condition`].
#[derive(Debug)]
pub(crate) enum Test {
    /// It is this.
    Equals(u64),
    /// It is not this.
    Differs(u64),
    /// All these bits are set.
    HasBits(u64),
}

/// Calls that are denied when all conditions hold.
#[derive(Debug)]
pub(crate) struct DeniedIf {
    /// The calls.
    pub(crate) calls: &'static [c_long],
    /// The conditions.
    pub(crate) when: &'static [Condition],
}

const fn has_bits(argument: u8, bits: i32) -> Condition {
    Condition { argument, test: Test::HasBits(bits as u32 as u64) }
}

const fn equals(argument: u8, value: i32) -> Condition {
    Condition { argument, test: Test::Equals(value as u32 as u64) }
}

const fn differs(argument: u8, value: i32) -> Condition {
    Condition { argument, test: Test::Differs(value as u32 as u64) }
}

/// Denied for some arguments.
pub(crate) const DENIED_IF: &[DeniedIf] = &[
    // New namespaces.
    DeniedIf { calls: &[libc::SYS_clone], when: &[has_bits(0, libc::CLONE_NEWNS)] },
    DeniedIf { calls: &[libc::SYS_clone], when: &[has_bits(0, libc::CLONE_NEWCGROUP)] },
    DeniedIf { calls: &[libc::SYS_clone], when: &[has_bits(0, libc::CLONE_NEWUTS)] },
    DeniedIf { calls: &[libc::SYS_clone], when: &[has_bits(0, libc::CLONE_NEWIPC)] },
    DeniedIf { calls: &[libc::SYS_clone], when: &[has_bits(0, libc::CLONE_NEWUSER)] },
    DeniedIf { calls: &[libc::SYS_clone], when: &[has_bits(0, libc::CLONE_NEWPID)] },
    DeniedIf { calls: &[libc::SYS_clone], when: &[has_bits(0, libc::CLONE_NEWNET)] },
    // Socket families other than Unix, IPv4, IPv6 and routing information. AF_VSOCK above all: it is in no
    // namespace and reaches the hypervisor.
    DeniedIf {
        calls: &[libc::SYS_socket, libc::SYS_socketpair],
        when: &[
            differs(0, libc::AF_UNIX),
            differs(0, libc::AF_INET),
            differs(0, libc::AF_INET6),
            differs(0, libc::AF_NETLINK),
        ],
    },
    DeniedIf {
        calls: &[libc::SYS_socket, libc::SYS_socketpair],
        when: &[equals(0, libc::AF_NETLINK), differs(2, libc::NETLINK_ROUTE)],
    },
    // Typing into a terminal (TIOCSTI, TIOCLINUX).
    DeniedIf { calls: &[libc::SYS_ioctl], when: &[equals(1, 0x5412)] },
    DeniedIf { calls: &[libc::SYS_ioctl], when: &[equals(1, 0x541c)] },
    // Execution domains, except asking for the present one and setting the usual one.
    DeniedIf { calls: &[libc::SYS_personality], when: &[differs(0, -1), differs(0, 0)] },
];
