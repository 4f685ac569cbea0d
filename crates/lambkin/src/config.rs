//! Settings of `lambkin serve`: flags, environment variables and a TOML file with the same keys.
//!
//! A flag wins over its environment variable, which wins over the file, which wins over the default.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use clap::{Args, ValueEnum};
use serde::Deserialize;

use crate::egress::{EgressDefault, EgressSettings, EgressTable};
use crate::endpoint::RUNTIME_API_PORT;
use crate::keys::is_account_id;

/// What `lambkin serve` can be told. Every field is optional here, so that a layer can leave it out.
#[derive(Debug, Clone, Default, Args, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Layer {
    /// Address to listen on [default: 127.0.0.1:4566]
    #[arg(long, env = "LAMBKIN_LISTEN", value_name = "ADDRESS:PORT")]
    pub(crate) listen: Option<SocketAddr>,

    /// Folder that holds all state; made if missing [default: ./lambkin-data]
    #[arg(long, env = "LAMBKIN_DATA_DIR", value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,

    /// Accept any credentials, as account 000000000000; for development only
    #[arg(long, env = "LAMBKIN_DEV", num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
    pub(crate) dev: Option<bool>,

    /// Region of requests that name none [default: us-east-1]
    #[arg(long, env = "LAMBKIN_REGION", value_name = "REGION")]
    pub(crate) region: Option<String>,

    /// Account of the root key, fixed when the data folder is made [default: 000000000000]
    #[arg(long, env = "LAMBKIN_ACCOUNT_ID", value_name = "12 DIGITS")]
    pub(crate) account_id: Option<String>,

    /// Log level, or a filter such as `info,lambkin_engine=debug` [default: info]
    #[arg(long, env = "LAMBKIN_LOG_LEVEL", value_name = "LEVEL")]
    pub(crate) log_level: Option<String>,

    /// Log format on stderr [default: text]
    #[arg(long, env = "LAMBKIN_LOG_FORMAT", value_name = "FORMAT")]
    pub(crate) log_format: Option<LogFormat>,

    /// Makes delays of queues, retries and schedules pass this many times faster [default: 1]
    #[arg(long, env = "LAMBKIN_TIME_SCALE", value_name = "FACTOR")]
    pub(crate) time_scale: Option<f64>,

    /// Memory for all execution environments together, in MiB [default: 80 % of what is available]
    #[arg(long, env = "LAMBKIN_MEMORY_MB", value_name = "MIB")]
    pub(crate) memory_mb: Option<u64>,

    /// Packages of all versions of an account in a region together, in MiB [default: 76800]
    #[arg(long, env = "LAMBKIN_CODE_STORAGE_MB", value_name = "MIB")]
    pub(crate) code_storage_mb: Option<u64>,

    /// Control-plane requests to Lambda that an account may make in a region per second; AWS's figure is 15
    /// [default: no limit]
    #[arg(long, env = "LAMBKIN_CONTROL_PLANE_RATE", value_name = "REQUESTS")]
    pub(crate) control_plane_rate: Option<u32>,

    /// Invocations that may run at once in each account and region [default: 1000]
    #[arg(long, env = "LAMBKIN_CONCURRENT_EXECUTIONS", value_name = "NUMBER")]
    pub(crate) concurrent_executions: Option<u32>,

    /// Execution environments that a function may start for its invocations within ten seconds [default: 1000]
    #[arg(long, env = "LAMBKIN_SCALING_RATE", value_name = "NUMBER")]
    pub(crate) scaling_rate: Option<u32>,

    /// Seconds after which an idle execution environment ends [default: 600]
    #[arg(long, env = "LAMBKIN_IDLE_SECONDS", value_name = "SECONDS")]
    pub(crate) idle_seconds: Option<u64>,

    /// Seconds that running invocations get to finish when the server stops [default: 30]
    #[arg(long, env = "LAMBKIN_STOP_SECONDS", value_name = "SECONDS")]
    pub(crate) stop_seconds: Option<u64>,

    /// How functions are isolated; `auto` takes root's sandboxes, else those in user namespaces, and does not
    /// start if neither works [default: auto]
    #[arg(long, env = "LAMBKIN_ISOLATION", value_name = "MODE")]
    pub(crate) isolation: Option<IsolationMode>,

    /// Whether Python functions are forked from a warm interpreter of their runtime, where they see no
    /// difference; `false` starts an interpreter for each, which shares nothing with others [default: true]
    #[arg(long, env = "LAMBKIN_ZYGOTES", num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
    pub(crate) zygotes: Option<bool>,

    /// PEM file with the certificate chain of the listener, leaf first: all APIs are served by TLS then.
    /// The file is read again when it changes, and on SIGHUP
    #[arg(long, env = "LAMBKIN_TLS_CERT", value_name = "FILE")]
    pub(crate) tls_cert: Option<PathBuf>,

    /// PEM file with the private key of --tls-cert
    #[arg(long, env = "LAMBKIN_TLS_KEY", value_name = "FILE")]
    pub(crate) tls_key: Option<PathBuf>,

    /// What functions without a rule under [egress.functions] may reach [default: internet where this host
    /// can do it, else none]
    #[arg(long = "egress", env = "LAMBKIN_EGRESS", value_name = "POLICY")]
    #[serde(skip)]
    pub(crate) egress_default: Option<EgressDefault>,

    /// `[egress]` of the file.
    #[arg(skip)]
    pub(crate) egress: Option<EgressTable>,

    /// Listen beyond loopback without TLS, or with --dev: anyone on the network can read along, or call
    #[arg(long, env = "LAMBKIN_INSECURE_LISTEN", num_args = 0..=1, default_missing_value = "true",
          value_name = "BOOL")]
    pub(crate) insecure_listen: Option<bool>,
}

/// How functions are to be isolated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum IsolationMode {
    /// The strongest that works here.
    Auto,
    /// Sandboxes made by root.
    Root,
    /// Sandboxes in user namespaces, made by an ordinary user.
    UserNamespaces,
    /// No isolation: plain child processes, which can do what the server's user can.
    Process,
}

/// Format of the server's own log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogFormat {
    /// A line of text per event.
    Text,
    /// A JSON object per event.
    Json,
}

/// The settings in force.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Settings {
    pub(crate) listen: SocketAddr,
    pub(crate) data_dir: PathBuf,
    pub(crate) dev: bool,
    pub(crate) region: String,
    pub(crate) account_id: Option<String>,
    pub(crate) log_level: String,
    pub(crate) log_format: LogFormat,
    pub(crate) time_scale: f64,
    pub(crate) memory_mb: Option<u64>,
    pub(crate) code_storage_mb: u64,
    pub(crate) control_plane_rate: Option<u32>,
    pub(crate) concurrent_executions: u32,
    pub(crate) scaling_rate: u32,
    pub(crate) idle: Duration,
    pub(crate) stop: Duration,
    pub(crate) isolation: IsolationMode,
    pub(crate) zygotes: bool,
    pub(crate) tls: Option<TlsFiles>,
    pub(crate) egress: EgressSettings,
}

/// PEM files of the listener.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TlsFiles {
    pub(crate) cert: PathBuf,
    pub(crate) key: PathBuf,
}

impl Layer {
    /// Reads a TOML file; unknown keys are errors.
    pub(crate) fn from_file(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
        toml::from_str(&text).with_context(|| format!("parse {}", path.display()))
    }

    /// This layer, with gaps filled from `below`.
    fn over(self, below: Self) -> Self {
        Self {
            listen: self.listen.or(below.listen),
            data_dir: self.data_dir.or(below.data_dir),
            dev: self.dev.or(below.dev),
            region: self.region.or(below.region),
            account_id: self.account_id.or(below.account_id),
            log_level: self.log_level.or(below.log_level),
            log_format: self.log_format.or(below.log_format),
            time_scale: self.time_scale.or(below.time_scale),
            memory_mb: self.memory_mb.or(below.memory_mb),
            code_storage_mb: self.code_storage_mb.or(below.code_storage_mb),
            control_plane_rate: self.control_plane_rate.or(below.control_plane_rate),
            concurrent_executions: self.concurrent_executions.or(below.concurrent_executions),
            scaling_rate: self.scaling_rate.or(below.scaling_rate),
            idle_seconds: self.idle_seconds.or(below.idle_seconds),
            stop_seconds: self.stop_seconds.or(below.stop_seconds),
            tls_cert: self.tls_cert.or(below.tls_cert),
            tls_key: self.tls_key.or(below.tls_key),
            isolation: self.isolation.or(below.isolation),
            zygotes: self.zygotes.or(below.zygotes),
            egress_default: self.egress_default.or(below.egress_default),
            egress: self.egress.or(below.egress),
            insecure_listen: self.insecure_listen.or(below.insecure_listen),
        }
    }
}

/// The API's numbers are signed and have 32 bits.
const MOST_EXECUTIONS: u32 = i32::MAX as u32;

/// Folder that holds all state where nothing else is said.
pub(crate) fn default_data_dir() -> PathBuf {
    PathBuf::from("lambkin-data")
}

impl Settings {
    /// Puts flags (which clap has already merged with the environment) over the file, fills in defaults
    /// and checks the whole.
    pub(crate) fn resolve(flags: Layer, file: Option<&Path>) -> anyhow::Result<Self> {
        let layer = match file {
            Some(path) => flags.over(Layer::from_file(path)?),
            None => flags,
        };
        let listen = layer.listen.unwrap_or(SocketAddr::from(([127, 0, 0, 1], 4566)));
        let tls = match (layer.tls_cert, layer.tls_key) {
            (Some(cert), Some(key)) => Some(TlsFiles { cert, key }),
            (None, None) => None,
            (Some(_), None) => bail!("--tls-cert needs --tls-key"),
            (None, Some(_)) => bail!("--tls-key needs --tls-cert"),
        };
        let dev = layer.dev.unwrap_or(false);
        if !listen.ip().is_loopback() && layer.insecure_listen != Some(true) {
            ensure!(
                tls.is_some(),
                "listening on {listen} would send credentials and payloads in the clear: give --tls-cert and \
                 --tls-key, use a loopback address, or say --insecure-listen on a network you trust"
            );
            ensure!(
                !dev,
                "listening on {listen} with --dev would let anyone who reaches it in: leave --dev out, use a \
                 loopback address, or say --insecure-listen on a network you trust"
            );
        }
        ensure!(
            listen.port() != RUNTIME_API_PORT,
            "port {RUNTIME_API_PORT} is that of the Runtime API in functions' sandboxes, where the server's \
             own port is served, too: listen on another one"
        );
        let time_scale = layer.time_scale.unwrap_or(1.0);
        ensure!(time_scale.is_finite() && time_scale > 0.0, "--time-scale must be a positive number");
        if let Some(account) = &layer.account_id {
            ensure!(is_account_id(account), "--account-id must have 12 digits");
        }
        if layer.memory_mb == Some(0) {
            bail!("--memory-mb must be greater than 0");
        }
        if layer.control_plane_rate == Some(0) {
            bail!("--control-plane-rate must be greater than 0; leave it out for no limit");
        }
        let concurrent_executions = layer.concurrent_executions.unwrap_or(1_000);
        let scaling_rate = layer.scaling_rate.unwrap_or(1_000);
        ensure!(
            (1..=MOST_EXECUTIONS).contains(&concurrent_executions),
            "--concurrent-executions must be between 1 and {MOST_EXECUTIONS}"
        );
        ensure!(scaling_rate > 0, "--scaling-rate must be greater than 0");
        // Sandboxes are made by another process, which stands elsewhere.
        let data_dir = layer.data_dir.unwrap_or_else(default_data_dir);
        let data_dir =
            std::path::absolute(&data_dir).with_context(|| format!("find {}", data_dir.display()))?;
        let region = layer.region.unwrap_or_else(|| "us-east-1".to_owned());
        ensure!(
            !region.is_empty()
                && region.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'),
            "--region must be a region name such as eu-central-1"
        );
        Ok(Self {
            listen,
            data_dir,
            dev,
            region,
            account_id: layer.account_id,
            log_level: layer.log_level.unwrap_or_else(|| "info".to_owned()),
            log_format: layer.log_format.unwrap_or(LogFormat::Text),
            time_scale,
            memory_mb: layer.memory_mb,
            code_storage_mb: layer.code_storage_mb.unwrap_or(75 * 1024),
            control_plane_rate: layer.control_plane_rate,
            concurrent_executions,
            scaling_rate,
            idle: Duration::from_secs(layer.idle_seconds.unwrap_or(600)),
            stop: Duration::from_secs(layer.stop_seconds.unwrap_or(30)),
            tls,
            isolation: layer.isolation.unwrap_or(IsolationMode::Auto),
            zygotes: layer.zygotes.unwrap_or(true),
            egress: EgressSettings::resolve(layer.egress, layer.egress_default)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_win_over_the_file_and_gaps_get_defaults() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lambkin.toml");
        std::fs::write(&path, "region = \"eu-central-1\"\nidle-seconds = 5\n").unwrap();
        let flags = Layer { idle_seconds: Some(7), ..Layer::default() };
        let settings = Settings::resolve(flags, Some(&path)).unwrap();
        assert_eq!(settings.region, "eu-central-1");
        assert_eq!(settings.idle, Duration::from_secs(7));
        assert_eq!(settings.listen.port(), 4566);
        assert!(!settings.dev);
    }

    #[test]
    fn unknown_keys_in_the_file_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lambkin.toml");
        std::fs::write(&path, "regoin = \"eu-central-1\"\n").unwrap();
        let error = Settings::resolve(Layer::default(), Some(&path)).unwrap_err();
        assert!(format!("{error:#}").contains("regoin"), "{error:#}");
    }

    #[test]
    fn listening_beyond_loopback_must_be_asked_for() {
        let flags = Layer { listen: Some("0.0.0.0:4566".parse().unwrap()), ..Layer::default() };
        assert!(Settings::resolve(flags.clone(), None).is_err());
        let insecure = Layer { insecure_listen: Some(true), ..flags.clone() };
        assert!(Settings::resolve(insecure, None).is_ok());
        let tls = Layer { tls_cert: Some("c".into()), tls_key: Some("k".into()), ..flags };
        assert!(Settings::resolve(tls.clone(), None).unwrap().tls.is_some());
        let dev = Layer { dev: Some(true), ..tls.clone() };
        assert!(Settings::resolve(dev.clone(), None).is_err());
        let insecure = Layer { insecure_listen: Some(true), ..dev };
        assert!(Settings::resolve(insecure, None).is_ok());
        let half = Layer { tls_key: None, ..tls };
        let error = Settings::resolve(half, None).unwrap_err().to_string();
        assert!(error.contains("--tls-key"), "{error}");
    }

    #[test]
    fn the_runtime_apis_port_is_taken() {
        let flags = Layer { listen: Some("127.0.0.1:9001".parse().unwrap()), ..Layer::default() };
        let error = Settings::resolve(flags, None).unwrap_err().to_string();
        assert!(error.contains("port 9001 is that of the Runtime API"), "{error}");
    }

    #[test]
    fn the_commented_example_file_states_the_defaults() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config/lambkin.toml");
        let example = std::fs::read_to_string(&path).unwrap();
        let uncommented: String = example
            .lines()
            .filter_map(|line| line.strip_prefix("#").map_or(Some(line), |rest| rest.strip_prefix("=")))
            .map(|line| format!("{line}\n"))
            .collect();
        let layer: Layer = toml::from_str(&uncommented).unwrap();
        let from_file = Settings::resolve(layer, None).unwrap();
        assert_eq!(from_file, Settings::resolve(Layer::default(), None).unwrap());
    }
}
