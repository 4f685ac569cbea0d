//! Folders merged into one by symbolic links, where there is no overlay file system to do it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// Makes `target` show all that is in `folders`, the last on top: a link for each entry; a folder of links
/// where several of them have a folder of the same name.
pub(super) fn link(target: &Path, folders: &[PathBuf]) -> io::Result<()> {
    fs::create_dir_all(target)?;
    // From the bottom to the top: the entry that counts, and the folders to be merged if it is one.
    let mut entries: BTreeMap<OsString, Vec<PathBuf>> = BTreeMap::new();
    for folder in folders {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let found = entries.entry(entry.file_name()).or_default();
            let below_is_folder = found.last().is_some_and(|below| is_folder(below));
            if !(entry.file_type()?.is_dir() && below_is_folder) {
                found.clear();
            }
            found.push(entry.path());
        }
    }
    for (name, sources) in entries {
        match sources.as_slice() {
            [only] => symlink(only, target.join(name))?,
            several => link(&target.join(name), several)?,
        }
    }
    Ok(())
}

fn is_folder(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|metadata| metadata.is_dir())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A path of a few names, so that they meet.
    fn path() -> impl Strategy<Value = Vec<&'static str>> {
        proptest::collection::vec(proptest::sample::select(vec!["a", "b", "c"]), 1..4)
    }

    /// All files below a folder, links followed, by their path.
    fn files(folder: &Path, at: &str, found: &mut BTreeMap<String, String>) {
        for entry in fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let name = format!("{at}/{}", entry.file_name().to_string_lossy());
            match fs::metadata(entry.path()).unwrap().is_dir() {
                true => files(&entry.path(), &name, found),
                false => drop(found.insert(name, fs::read_to_string(entry.path()).unwrap())),
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// As if the folders were copied over each other in order, a file in the place of a folder and the other
        /// way round included.
        #[test]
        fn later_folders_win(layers in proptest::collection::vec(proptest::collection::vec(path(), 0..6), 2..6)) {
            let dir = tempfile::tempdir().unwrap();
            let mut expected: BTreeMap<String, String> = BTreeMap::new();
            let mut folders = Vec::new();
            for (number, paths) in layers.iter().enumerate() {
                let folder = dir.path().join(number.to_string());
                fs::create_dir(&folder).unwrap();
                for path in paths {
                    let path: PathBuf = path.iter().collect();
                    let made = fs::create_dir_all(folder.join(&path).parent().unwrap());
                    // Not where this folder itself has a file and a folder of one name.
                    if made.is_ok() && fs::write(folder.join(&path), number.to_string()).is_ok() {
                        let name = format!("/{}", path.display());
                        expected.retain(|old, _| {
                            !old.starts_with(&format!("{name}/")) && !name.starts_with(&format!("{old}/"))
                        });
                        expected.insert(name, number.to_string());
                    }
                }
                folders.push(folder);
            }
            let target = dir.path().join("merged");
            link(&target, &folders).unwrap();
            let mut found = BTreeMap::new();
            files(&target, "", &mut found);
            prop_assert_eq!(found, expected);
        }
    }

    #[test]
    fn the_last_is_on_top_and_folders_are_merged() {
        let dir = tempfile::tempdir().unwrap();
        let make = |name: &str| {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, name).unwrap();
        };
        for name in [
            "1/a",
            "1/b",
            "1/both/x",
            "1/both/deep/x",
            "1/file/x",
            "2/b",
            "2/both/y",
            "2/both/deep/y",
            "2/file",
        ] {
            make(name);
        }
        make("3/folder/z");
        symlink("a", dir.path().join("3/link")).unwrap();
        let target = dir.path().join("merged");
        link(&target, &["1", "2", "3"].map(|name| dir.path().join(name))).unwrap();
        let read = |name: &str| fs::read_to_string(target.join(name)).unwrap();
        assert_eq!([read("a"), read("b")], ["1/a", "2/b"]);
        assert_eq!([read("both/x"), read("both/y")], ["1/both/x", "2/both/y"]);
        assert_eq!([read("both/deep/x"), read("both/deep/y")], ["1/both/deep/x", "2/both/deep/y"]);
        assert_eq!([read("file"), read("folder/z")], ["2/file", "3/folder/z"]);
        assert!(target.join("folder").is_symlink() && !target.join("both").is_symlink());
        assert_eq!(fs::read_link(target.join("link")).unwrap(), dir.path().join("3/link"));
    }
}
