//! Whether a spec keeps the rules.

use crate::error::SandboxError;
use crate::net::LoopbackSocket;
use crate::spec::SandboxSpec;

/// Most listeners of one sandbox: their descriptors travel in one message.
const MAX_PORTS: usize = 16;

/// Most sockets of its network, for the same reason.
const MAX_SOCKETS: usize = 24;

/// Most layers of one overlay: their names must fit a mount option of 255 bytes.
const MAX_LAYERS: usize = 10;

/// Least memory of a sandbox: what the kernel and init themselves need, and some.
const MIN_MEMORY_BYTES: u64 = 4 * 1024 * 1024;

/// Whether a name can be a cgroup folder: `[a-z0-9-]`, 1 to 64 characters.
pub(super) fn is_name(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

/// Checks what can be checked without making anything.
pub(super) fn check(spec: &SandboxSpec) -> Result<(), SandboxError> {
    let fail = |text: String| Err(SandboxError::Spec(text));
    if !is_name(&spec.id) {
        return fail(format!("id {:?} is not [a-z0-9-]{{1,64}}", spec.id));
    }
    if spec.command.is_empty() || spec.helpers.iter().any(|helper| helper.command.is_empty()) {
        return fail("command is empty".to_owned());
    }
    if spec.memory_bytes < MIN_MEMORY_BYTES {
        return fail(format!("memory_bytes {} is below {MIN_MEMORY_BYTES}", spec.memory_bytes));
    }
    if spec.pids_max == 0 {
        return fail("pids_max is 0".to_owned());
    }
    if spec.listen_ports.len() > MAX_PORTS {
        return fail(format!("more than {MAX_PORTS} listen_ports"));
    }
    if spec.network.sockets.len() > MAX_SOCKETS {
        return fail(format!("more than {MAX_SOCKETS} sockets"));
    }
    for socket in &spec.network.sockets {
        let (LoopbackSocket::Tcp(address) | LoopbackSocket::Udp(address)) = socket;
        if !address.ip().is_loopback() {
            return fail(format!("socket address {address} is not on loopback"));
        }
    }
    let helpers = spec.helpers.iter().flat_map(|helper| &helper.environment);
    if let Some((name, _)) =
        spec.environment.iter().chain(helpers).find(|(name, _)| name.is_empty() || name.contains('='))
    {
        return fail(format!("environment name {name:?}"));
    }
    let targets = spec.binds.iter().map(|bind| bind.target.as_str());
    let targets = targets
        .chain(spec.symlinks.iter().map(|(link, _)| link.as_str()))
        .chain(spec.files.iter().map(|(path, _)| path.as_str()))
        .chain(spec.overlays.iter().map(|(target, _)| target.as_str()))
        .chain([spec.working_dir.as_str()]);
    for target in targets {
        if !target.starts_with('/') {
            return fail(format!("path {target:?} is not absolute"));
        }
    }
    for (target, sources) in &spec.overlays {
        if sources.len() > MAX_LAYERS {
            return fail(format!("more than {MAX_LAYERS} folders at {target}"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> SandboxSpec {
        SandboxSpec {
            id: "a-1".to_owned(),
            command: vec!["/bin/true".to_owned()],
            environment: vec![("A".to_owned(), "b=c".to_owned())],
            working_dir: "/".to_owned(),
            binds: Vec::new(),
            symlinks: Vec::new(),
            files: Vec::new(),
            overlays: Vec::new(),
            memory_bytes: 128 << 20,
            tmp_bytes: 512 << 20,
            pids_max: 10,
            open_files_max: 1024,
            cpu_quota_us: None,
            listen_ports: Vec::new(),
            network: crate::net::NetworkSpec::default(),
            channel: false,
            zygote: None,
            helpers: Vec::new(),
        }
    }

    #[test]
    fn rules() {
        check(&spec()).unwrap();
        let broken: [fn(&mut SandboxSpec); 8] = [
            |spec| spec.id = "A".to_owned(),
            |spec| spec.id = "x".repeat(65),
            |spec| spec.command.clear(),
            |spec| spec.memory_bytes = 1,
            |spec| spec.working_dir = "var".to_owned(),
            |spec| spec.environment.push(("A=B".to_owned(), String::new())),
            |spec| spec.overlays.push(("opt".to_owned(), Vec::new())),
            |spec| spec.network.sockets.push(LoopbackSocket::Tcp("10.0.0.1:53".parse().unwrap())),
        ];
        for (number, change) in broken.iter().enumerate() {
            let mut spec = spec();
            change(&mut spec);
            assert!(matches!(check(&spec), Err(SandboxError::Spec(_))), "rule {number}");
        }
    }
}
