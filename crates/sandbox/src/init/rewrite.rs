//! For programs without a root of their own: what the spec calls by a path inside is called by its path on
//! the host.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use crate::spec::SandboxSpec;

/// Paths and addresses to be replaced.
#[derive(Debug)]
pub(super) struct Rewriter {
    /// Path inside and on the host.
    paths: Vec<(String, String)>,
    /// `127.0.0.1:<port>` and what is there instead.
    addresses: Vec<(String, String)>,
}

impl Rewriter {
    /// Knows the binds of a spec, but for those that show a path of the host in its own place and those that
    /// lie over such a one: programs see the host's there.
    pub(super) fn new(spec: &SandboxSpec) -> Rewriter {
        let mut rewriter = Rewriter { paths: Vec::new(), addresses: Vec::new() };
        let is_own = |source: &Path, target: &str| source == Path::new(target);
        let own = || spec.binds.iter().filter(|bind| is_own(&bind.source, &bind.target));
        for bind in &spec.binds {
            let covers = own().any(|own| Path::new(&bind.target).starts_with(&own.target));
            if !covers && bind.source.exists() {
                rewriter.place(&bind.target, bind.source.clone());
            }
        }
        rewriter
    }

    /// Replaces a path, and paths below it, by those of a folder of the host. The last one of a path counts.
    pub(super) fn place(&mut self, target: &str, source: PathBuf) {
        let target = target.trim_end_matches('/').to_owned();
        self.paths.retain(|(other, _)| *other != target);
        self.paths.push((target, source.to_string_lossy().into_owned()));
        // The longest first.
        self.paths.sort_by_key(|(target, _)| std::cmp::Reverse(target.len()));
    }

    /// Replaces a port on 127.0.0.1 and `localhost` by the same of another address.
    pub(super) fn listen(&mut self, port: u16, address: Ipv4Addr) {
        for host in ["127.0.0.1", "localhost"] {
            self.addresses.push((format!("{host}:{port}"), format!("{address}:{port}")));
        }
    }

    /// The spec with command, environment and working directory as they are on the host.
    pub(super) fn apply(&self, spec: &SandboxSpec) -> SandboxSpec {
        let mut spec = spec.clone();
        for text in spec.command.iter_mut().chain(spec.environment.iter_mut().map(|(_, value)| value)) {
            *text = self.text(text);
        }
        for helper in &mut spec.helpers {
            let values = helper.environment.iter_mut().map(|(_, value)| value);
            for text in helper.command.iter_mut().chain(values) {
                *text = self.text(text);
            }
        }
        spec.working_dir = self.text(&spec.working_dir);
        spec
    }

    fn text(&self, text: &str) -> String {
        let mut result = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            let before = result.chars().next_back();
            let found = match before {
                Some(before) if is_name(before) || matches!(before, '/' | '~' | '}') => None,
                _ => find(&self.paths, rest, |next| !is_name(next)),
            };
            let found = found.or_else(|| match before {
                Some(before) if is_name(before) => None,
                _ => find(&self.addresses, rest, |next| !next.is_ascii_alphanumeric()),
            });
            let length = match found {
                Some((from, to)) => {
                    result.push_str(to);
                    from.len()
                }
                None => {
                    result.push(first);
                    first.len_utf8()
                }
            };
            rest = rest.get(length..).unwrap_or_default();
        }
        result
    }
}

/// The replacement for what a text starts with, if that ends there or before a character that may follow.
fn find<'a>(
    pairs: &'a [(String, String)],
    text: &str,
    may_follow: impl Fn(char) -> bool,
) -> Option<(&'a str, &'a str)> {
    pairs
        .iter()
        .find(|(from, _)| {
            let next = text.strip_prefix(from.as_str()).map(|rest| rest.chars().next());
            next.is_some_and(|next| next.is_none_or(&may_follow))
        })
        .map(|(from, to)| (from.as_str(), to.as_str()))
}

/// Whether a character can be part of a file's name as far as this is concerned.
fn is_name(character: char) -> bool {
    character.is_alphanumeric() || matches!(character, '_' | '-' | '.')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::BindMount;

    fn spec() -> SandboxSpec {
        SandboxSpec {
            id: "a".to_owned(),
            command: Vec::new(),
            environment: Vec::new(),
            working_dir: "/".to_owned(),
            binds: Vec::new(),
            symlinks: Vec::new(),
            files: Vec::new(),
            overlays: Vec::new(),
            memory_bytes: 1,
            tmp_bytes: 1,
            pids_max: 1,
            open_files_max: 1,
            cpu_quota_us: None,
            network: crate::net::NetworkSpec::default(),
            listen_ports: Vec::new(),
            channel: false,
            zygote: None,
            helpers: Vec::new(),
        }
    }

    fn rewriter() -> Rewriter {
        let bind = |source: &str, target: &str| BindMount {
            source: source.into(),
            target: target.to_owned(),
            optional: false,
        };
        let mut spec = spec();
        spec.binds = vec![bind("/usr", "/usr"), bind("/etc", "/usr/local"), bind("/proc", "/var/task")];
        spec.binds.push(bind("/no/such", "/missing"));
        let mut rewriter = Rewriter::new(&spec);
        rewriter.place("/opt", "/data/opt".into());
        rewriter.place("/tmp", "/data/tmp".into());
        rewriter.place("/var/task/deep", "/dev".into());
        rewriter.listen(9001, Ipv4Addr::new(127, 3, 4, 5));
        rewriter
    }

    #[test]
    fn texts() {
        let rewriter = rewriter();
        for (text, expected) in [
            ("/var/task", "/proc"),
            ("/var/task/", "/proc/"),
            ("/var/task/app.py", "/proc/app.py"),
            ("/var/task/deep/x", "/dev/x"),
            ("/var/tasks", "/var/tasks"),
            ("/usr/lib:/usr/local/bin:/opt/lib:/lib64", "/usr/lib:/usr/local/bin:/data/opt/lib:/lib64"),
            ("-Dx=/opt/a,/tmp", "-Dx=/data/opt/a,/data/tmp"),
            ("https://host/opt/x", "https://host/opt/x"),
            ("file:///opt/x", "file:///opt/x"),
            ("~/opt ${HOME}/opt", "~/opt ${HOME}/opt"),
            ("/missing", "/missing"),
            ("127.0.0.1:9001", "127.3.4.5:9001"),
            ("http://localhost:9001/x", "http://127.3.4.5:9001/x"),
            ("127.0.0.1:90011 1127.0.0.1:9001", "127.0.0.1:90011 1127.0.0.1:9001"),
            ("é/opt", "é/opt"),
            ("é=/opt é", "é=/data/opt é"),
        ] {
            assert_eq!(rewriter.text(text), expected, "{text}");
        }
    }

    #[test]
    fn names_of_variables_are_kept() {
        let mut spec = spec();
        spec.environment.push(("/opt".to_owned(), "/opt".to_owned()));
        spec.command = vec!["/var/task/run".to_owned(), "/tmp".to_owned()];
        spec.working_dir = "/var/task".to_owned();
        let spec = rewriter().apply(&spec);
        assert_eq!(spec.environment, [("/opt".to_owned(), "/data/opt".to_owned())]);
        assert_eq!(spec.command, ["/proc/run", "/data/tmp"]);
        assert_eq!(spec.working_dir, "/proc");
    }
}
