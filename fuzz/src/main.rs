//! `fuzz/run`: drives targets with inputs made by `lambkin_fuzz::mutate`.

#![allow(
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a command line tool for tests"
)]

use std::panic::catch_unwind;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime};

use lambkin_fuzz::mutate::{Random, mutate};
use lambkin_fuzz::{TARGETS, Target};

const USAGE: &str = "usage: fuzz/run [TARGET|all] [SECONDS per target, default 3] [SEED]
       fuzz/run TARGET FILE";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let name = arguments.first().map_or("all", String::as_str);
    let targets: Vec<Target> =
        TARGETS.into_iter().filter(|target| name == "all" || target.name == name).collect();
    let second = arguments.get(1).map_or("3", String::as_str);
    if targets.is_empty() {
        let names = TARGETS.map(|target| target.name).join(", ");
        eprintln!("{USAGE}\ntargets: {names}");
        return ExitCode::from(2);
    }
    let Ok(seconds) = second.parse() else {
        return match std::fs::read(second) {
            Ok(input) => run_all(&targets, |target| attempt(target, &input, second)),
            Err(error) => {
                eprintln!("{second}: {error}\n{USAGE}");
                ExitCode::from(2)
            }
        };
    };
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let seed = arguments.get(2).and_then(|seed| seed.parse().ok()).unwrap_or(now.as_secs());
    run_all(&targets, |target| fuzz(target, Duration::from_secs(seconds), seed))
}

fn run_all(targets: &[Target], run: impl Fn(Target) -> bool) -> ExitCode {
    let good = targets.iter().filter(|target| run(**target)).count();
    if good == targets.len() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs a target on its seeds and then on changed ones; whether it held.
fn fuzz(target: Target, time: Duration, seed: u64) -> bool {
    let mut random = Random::new(seed);
    let mut corpus = (target.seeds)();
    for input in &corpus {
        if !attempt(target, input, "a seed") {
            return false;
        }
    }
    let started = Instant::now();
    let mut count = 0_u64;
    while started.elapsed() < time {
        let mut input = corpus[random.below(corpus.len())].clone();
        let other = corpus[random.below(corpus.len())].clone();
        mutate(&mut random, &mut input, &other, target.words);
        if !attempt(target, &input, &format!("input {count} of seed {seed}")) {
            return false;
        }
        // Some go on as the ground for more changes.
        if count.is_multiple_of(16) {
            if corpus.len() < 1000 {
                corpus.push(input);
            } else {
                let (_, changed) = corpus.split_at_mut(300);
                let place = random.below(changed.len());
                changed[place] = input;
            }
        }
        count += 1;
    }
    println!("{:15} {count} inputs in {} s, seed {seed}", target.name, time.as_secs());
    true
}

/// Runs one input; one that fails is written to `fuzz/artifacts`.
fn attempt(target: Target, input: &[u8], what: &str) -> bool {
    if catch_unwind(|| (target.run)(input)).is_ok() {
        return true;
    }
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("artifacts").join(target.name);
    let file = folder.join(format!(
        "{:x}",
        input.iter().fold(5381_u64, |hash, byte| hash.wrapping_mul(33) ^ u64::from(*byte))
    ));
    let written = std::fs::create_dir_all(&folder).and_then(|()| std::fs::write(&file, input));
    eprintln!("{} fails on {what}; kept as {} ({written:?})", target.name, file.display());
    false
}
