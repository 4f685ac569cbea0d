//! The real client: botocore signs, sends and reads.
//!
//! Needs a Python with botocore: `LAMBKIN_TEST_PYTHON`, or the environment of the end-to-end tests.

mod common;

use std::path::{Path, PathBuf};

use lambkin_wire::{Mode, ServeOptions};
use tokio::process::Command;

use common::{KEY, SECRET, Server, TOKEN};

/// A Python that can import botocore, or why there is none.
async fn python() -> Result<PathBuf, String> {
    let python = match std::env::var_os("LAMBKIN_TEST_PYTHON") {
        Some(python) => PathBuf::from(python),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/e2e/.venv/bin/python"),
    };
    let imported = Command::new(&python).args(["-c", "import botocore"]).output().await;
    match imported {
        Ok(output) if output.status.success() => Ok(python),
        Ok(_) => Err(format!("{} has no botocore", python.display())),
        Err(error) => Err(format!("{}: {error}", python.display())),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn botocore_is_understood() {
    let python = match python().await {
        Ok(python) => python,
        Err(reason) => {
            eprintln!("skipped: no Python with botocore ({reason})");
            return;
        }
    };
    let server = Server::start(Mode::Strict, ServeOptions::default()).await;
    let output = Command::new(python)
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/botocore_client.py"))
        .args([&format!("http://{}", server.address), KEY, SECRET, TOKEN])
        .env_remove("AWS_PROFILE")
        .env("AWS_CONFIG_FILE", "/dev/null")
        .env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
        .output()
        .await
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "ok");
}
