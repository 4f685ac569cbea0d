//! What a process did to the files of a folder, read from the output of `strace`.

use std::collections::HashMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use crate::child::ACK;

/// All calls that change files or make changes durable; all text in hexadecimal, and whole.
pub(crate) const OPTIONS: &[&str] = &[
    "-f",
    "-qq",
    "-xx",
    "-s",
    "16777216",
    "-e",
    "signal=none",
    "-e",
    "trace=open,openat,creat,close,dup,dup2,dup3,write,writev,pwrite64,pwritev,pwritev2,lseek,ftruncate,truncate,\
     fallocate,fsync,fdatasync,sync_file_range,rename,renameat,renameat2,unlink,unlinkat,mkdir,mkdirat,rmdir,\
     link,linkat,symlink,symlinkat",
];

/// One effect on the files, in the order in which they took place.
#[derive(Debug)]
pub(crate) enum Step {
    /// An open file that was opened at this step's number may be meant by later ones.
    Opened {
        handle: usize,
        path: PathBuf,
        create: bool,
        truncate: bool,
    },
    Write {
        handle: usize,
        offset: u64,
        data: Vec<u8>,
    },
    Truncate {
        handle: usize,
        length: u64,
    },
    /// A sync begins: what comes later is not covered by it.
    Syncing {
        handle: usize,
    },
    Synced {
        handle: usize,
    },
    MakeFolder(PathBuf),
    Rename(PathBuf, PathBuf),
    Remove(PathBuf),
    Ack(String),
}

/// An open file of the traced process.
#[derive(Clone)]
struct Handle {
    number: usize,
    position: u64,
}

struct Reader<'a> {
    folder: &'a Path,
    open: HashMap<i64, Handle>,
    steps: Vec<Step>,
    handles: usize,
    output: String,
}

/// Reads a trace; files outside of `folder` are left out.
pub(crate) fn read(trace: &Path, folder: &Path) -> Vec<Step> {
    let text = std::fs::read_to_string(trace).unwrap();
    let mut reader =
        Reader { folder, open: HashMap::new(), steps: Vec::new(), handles: 0, output: String::new() };
    let mut unfinished: HashMap<&str, String> = HashMap::new();
    for line in text.lines() {
        let (process, line) = line.split_once(' ').unwrap();
        let line = line.trim_start();
        if line.starts_with("+++") || line.starts_with("---") {
            continue;
        }
        if let Some(begun) = line.strip_suffix(" <unfinished ...>") {
            let (name, arguments) = begun.split_once('(').unwrap();
            reader.begin(name, &split(arguments));
            unfinished.insert(process, begun.to_owned());
            continue;
        }
        if line.starts_with("<...") {
            let rest = line.split_once("resumed>").unwrap().1;
            // The process may have been attached to in the middle of a call.
            let Some(begun) = unfinished.remove(process) else { continue };
            reader.finish(&(begun + rest));
            continue;
        }
        let (name, arguments) = line.split_once('(').unwrap();
        reader.begin(name, &split(arguments));
        reader.finish(line);
    }
    reader.steps
}

/// Splits arguments, up to the closing bracket if there is one.
fn split(arguments: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let (mut quoted, mut depth) = (false, 0);
    for letter in arguments.chars() {
        match letter {
            '"' => quoted = !quoted,
            '[' | '{' | '(' if !quoted => depth += 1,
            ')' if !quoted && depth == 0 => break,
            ']' | '}' | ')' if !quoted => depth -= 1,
            ',' if !quoted && depth == 0 => {
                parts.push(String::new());
                continue;
            }
            _ => {}
        }
        parts.last_mut().unwrap().push(letter);
    }
    parts.into_iter().map(|part| part.trim().to_owned()).collect()
}

/// The bytes of a text in hexadecimal escapes.
fn bytes(text: &str) -> Vec<u8> {
    let digits = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
    let digits = digits.unwrap_or_else(|| panic!("text is cut: {}", &text[text.len().saturating_sub(20)..]));
    let pairs = digits.split("\\x").filter(|pair| !pair.is_empty());
    pairs.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect()
}

impl Reader<'_> {
    /// A path, if it is in the folder.
    fn path(&self, text: &str) -> Option<PathBuf> {
        if !text.starts_with('"') {
            return None;
        }
        let path = PathBuf::from(OsString::from_vec(bytes(text)));
        path.starts_with(self.folder).then_some(path)
    }

    fn handle(&self, number: &str) -> Option<Handle> {
        self.open.get(&number.parse().ok()?).cloned()
    }

    /// A call begins.
    fn begin(&mut self, name: &str, arguments: &[String]) {
        match name {
            // From here on its number can be given anew.
            "close" => drop(self.open.remove(&arguments[0].parse().unwrap())),
            "fsync" | "fdatasync" => {
                if let Some(handle) = self.handle(&arguments[0]) {
                    self.steps.push(Step::Syncing { handle: handle.number });
                }
            }
            "write" if arguments[0] == "1" => self.print(&bytes(&arguments[1])),
            _ => {}
        }
    }

    fn print(&mut self, text: &[u8]) {
        self.output.push_str(std::str::from_utf8(text).unwrap());
        while let Some((line, rest)) = self.output.split_once('\n') {
            if let Some(ack) = line.strip_prefix(ACK) {
                self.steps.push(Step::Ack(ack.to_owned()));
            }
            self.output = rest.to_owned();
        }
    }

    /// A call has ended.
    fn finish(&mut self, line: &str) {
        let (call, result) = line.rsplit_once(" = ").unwrap_or_else(|| panic!("{line}"));
        let (name, arguments) = call.split_once('(').unwrap();
        let arguments = split(arguments);
        let result = result.split(' ').next().unwrap();
        // "?" for a thread that was ended in the call.
        let Some(result) = result.parse::<i64>().ok().filter(|result| *result >= 0) else { return };
        let handle = self.handle(&arguments[0]);
        let step = match (name, handle) {
            ("open" | "openat" | "creat", _) => {
                let at = usize::from(name == "openat");
                let Some(path) = self.path(&arguments[at]) else { return };
                let flags = arguments.get(at + 1).map_or("", String::as_str);
                self.handles += 1;
                self.open.insert(result, Handle { number: self.handles, position: 0 });
                let (create, truncate) = (flags.contains("O_CREAT"), flags.contains("O_TRUNC"));
                Step::Opened { handle: self.handles, path, create, truncate }
            }
            ("mkdir" | "mkdirat", _) => {
                let Some(path) = self.path(&arguments[usize::from(name == "mkdirat")]) else { return };
                Step::MakeFolder(path)
            }
            ("unlink" | "unlinkat", _) => {
                let Some(path) = self.path(&arguments[usize::from(name == "unlinkat")]) else { return };
                Step::Remove(path)
            }
            ("rename" | "renameat" | "renameat2", _) => {
                let at = usize::from(name != "rename");
                let (from, to) = (self.path(&arguments[at]), self.path(&arguments[at * 2 + 1]));
                let Some((from, to)) = from.zip(to) else { return };
                Step::Rename(from, to)
            }
            ("close", _) | (_, None) => return,
            ("lseek", Some(_)) => {
                self.seek(&arguments[0], result);
                return;
            }
            ("write", Some(handle)) => {
                let mut data = bytes(&arguments[1]);
                data.truncate(usize::try_from(result).unwrap());
                self.seek(&arguments[0], i64::try_from(handle.position).unwrap() + result);
                Step::Write { handle: handle.number, offset: handle.position, data }
            }
            ("pwrite64", Some(handle)) => {
                let mut data = bytes(&arguments[1]);
                data.truncate(usize::try_from(result).unwrap());
                Step::Write { handle: handle.number, offset: arguments[3].parse().unwrap(), data }
            }
            ("ftruncate", Some(handle)) => {
                Step::Truncate { handle: handle.number, length: arguments[1].parse().unwrap() }
            }
            ("fsync" | "fdatasync", Some(handle)) => Step::Synced { handle: handle.number },
            _ => panic!("a call that is not understood: {name} {arguments:?}"),
        };
        self.steps.push(step);
    }

    fn seek(&mut self, number: &str, position: i64) {
        if let Some(handle) = self.open.get_mut(&number.parse().unwrap()) {
            handle.position = u64::try_from(position).unwrap();
        }
    }
}
