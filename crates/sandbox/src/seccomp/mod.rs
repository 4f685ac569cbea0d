//! Seccomp filters: which system calls a sandbox may make.
//!
//! One program, made once by the spawner. Its beginning, written out here, kills processes that call in
//! through a foreign architecture and answers `clone3` with `ENOSYS` (its flags lie in memory that a filter
//! cannot read; the C libraries then use `clone`). The rest answers everything in [`table`] with `EPERM`.

mod table;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch,
};

use crate::error::{Context, SandboxError};
use crate::sys::process;
use table::Test;

/// The compiled filter.
#[derive(Debug)]
pub(crate) struct Filters {
    program: Vec<libc::sock_filter>,
}

#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: (TargetArch, u32) = (TargetArch::x86_64, 0xc000_003e);
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: (TargetArch, u32) = (TargetArch::aarch64, 0xc000_00b7);

/// Bit in the number of a system call of the x32 interface (x86-64 with 32-bit pointers).
const X32_BIT: u32 = 0x4000_0000;

impl Filters {
    /// Compiles it.
    pub(crate) fn compile() -> Result<Filters, SandboxError> {
        let denied = compile_table()
            .map_err(|error| SandboxError::Host(format!("the seccomp filter cannot be compiled: {error}")))?;
        let denied = denied.iter().map(|line| libc::sock_filter {
            code: line.code,
            jt: line.jt,
            jf: line.jf,
            k: line.k,
        });
        Ok(Filters { program: entry_program().into_iter().chain(denied).collect() })
    }

    /// The program as bytes, for a process that installs it by itself.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let line = |line: &libc::sock_filter| {
            let [a, b] = line.code.to_ne_bytes();
            let [c, d, e, f] = line.k.to_ne_bytes();
            [a, b, line.jt, line.jf, c, d, e, f]
        };
        self.program.iter().flat_map(line).collect()
    }

    /// Puts this process and all its children under the filter. Needs `no_new_privs`.
    pub(crate) fn install(&self) -> Result<(), SandboxError> {
        process::install_filter(&self.program).step("install seccomp filter")
    }
}

/// Falls through to what follows it.
fn entry_program() -> Vec<libc::sock_filter> {
    // Offsets in `struct seccomp_data`.
    const NUMBER: u32 = 0;
    const ARCH: u32 = 4;
    const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    const JUMP_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    const JUMP_AT_LEAST: u16 = (libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K) as u16;
    const JUMP: u16 = (libc::BPF_JMP | libc::BPF_JA) as u16;
    const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
    let line = |code: u16, k: u32, jt: u8, jf: u8| libc::sock_filter { code, jt, jf, k };
    vec![
        line(LOAD, ARCH, 0, 0),
        line(JUMP_EQUAL, ARCHITECTURE.1, 0, 4),
        line(LOAD, NUMBER, 0, 0),
        line(JUMP_AT_LEAST, X32_BIT, 2, 0),
        line(JUMP_EQUAL, libc::SYS_clone3 as u32, 2, 0),
        line(JUMP, 2, 0, 0),
        line(RETURN, libc::SECCOMP_RET_KILL_PROCESS, 0, 0),
        line(RETURN, libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32, 0, 0),
    ]
}

fn compile_table() -> Result<BpfProgram, seccompiler::BackendError> {
    let mut rules: std::collections::BTreeMap<i64, Vec<SeccompRule>> = std::collections::BTreeMap::new();
    for number in table::DENIED {
        rules.insert(*number, Vec::new());
    }
    for denied in table::DENIED_IF {
        let conditions = denied.when.iter().map(|condition| {
            let (operator, value) = match condition.test {
                Test::Equals(value) => (SeccompCmpOp::Eq, value),
                Test::Differs(value) => (SeccompCmpOp::Ne, value),
                Test::HasBits(bits) => (SeccompCmpOp::MaskedEq(bits), bits),
            };
            SeccompCondition::new(condition.argument, SeccompCmpArgLen::Dword, operator, value)
        });
        let rule = SeccompRule::new(conditions.collect::<Result<_, _>>()?)?;
        for number in denied.calls {
            rules.entry(*number).or_default().push(rule.clone());
        }
    }
    SeccompFilter::new(rules, SeccompAction::Allow, SeccompAction::Errno(libc::EPERM as u32), ARCHITECTURE.0)?
        .try_into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_filter_compiles_and_is_of_legal_size() {
        let filters = Filters::compile().unwrap();
        assert!(filters.program.len() > 100);
        assert!(filters.program.len() < 4096);
    }

    #[test]
    fn no_call_is_both_denied_and_conditional() {
        for rule in table::DENIED_IF {
            for number in rule.calls {
                assert!(!table::DENIED.contains(number), "{number}");
            }
        }
    }
}
